//! The detected layout is what was found, and a damaged table of offsets is refused.

use interpreter::layout::{Bytecode, FrameSize, Gil, Innermost, Layout, LayoutError, Position};
use proptest::prelude::*;

use crate::build::{self, Build};
use crate::image::{Image, RUNTIME};

#[test]
fn every_build_is_laid_out_as_found() {
    for build in build::all() {
        let layout = build.layout();
        let is = |detected: u32, key: &str| assert_eq!(u64::from(detected), build.fact(key), "{}: {key}", build.name);
        let may_be = |detected: Option<u32>, key: &str| {
            assert_eq!(detected.map(u64::from), build.optional(key), "{}: {key}", build.name);
        };

        is(layout.runtime.interpreters_head, "runtime.interpreters_head");
        is(layout.interpreter.next, "interpreter.next");
        is(layout.interpreter.threads_head, "interpreter.threads_head");
        is(layout.interpreter.gc_collecting, "interpreter.gc_collecting");
        may_be(layout.interpreter.gc_frame, "interpreter.gc_frame");
        is(layout.thread_state.next, "thread.next");
        is(layout.thread_state.interp, "thread.interpreter");
        is(layout.thread_state.thread_id, "thread.thread_id");
        may_be(layout.thread_state.native_thread_id, "thread.native_thread_id");
        may_be(layout.thread_state.base_frame, "thread.base_frame");
        may_be(layout.thread_state.datastack_chunk, "thread.datastack_chunk");
        match layout.thread_state.innermost {
            Innermost::Direct(offset) => {
                is(offset, "thread.frame_root");
                may_be(None, "thread.cframe_current_frame");
            }
            Innermost::ThroughCFrame { cframe, current_frame } => {
                is(cframe, "thread.frame_root");
                is(current_frame, "thread.cframe_current_frame");
            }
        }
        is(layout.frame.previous, "frame.previous");
        is(layout.frame.code, "frame.executable");
        match layout.frame.position {
            Position::LastIndexBytes(offset) | Position::LastIndexUnits(offset) | Position::Pointer(offset) => {
                is(offset, "frame.instruction");
            }
        }
        may_be(layout.frame.owner, "frame.owner");
        may_be(layout.frame.is_entry, "frame.is_entry");
        match layout.code.frame_size {
            None => assert!(build.minor() < 11, "{}", build.name),
            Some(FrameSize::Words(offset)) => is(offset, "code.frame_words"),
            Some(FrameSize::Parts { locals, stack, specials_words }) => {
                is(locals, "code.locals");
                is(stack, "code.stack");
                is(specials_words, "frame.specials_words");
            }
        }
        may_be(layout.frame.tlbc_index, "frame.tlbc_index");
        is(layout.code.filename, "code.filename");
        is(layout.code.name, if build.minor() >= 11 { "code.qualname" } else { "code.name" });
        is(layout.code.first_line, "code.first_line");
        is(layout.code.line_table, "code.line_table");
        match layout.code.bytecode {
            Bytecode::Object(offset) | Bytecode::Inline(offset) => is(offset, "code.bytecode"),
        }
        may_be(layout.code.first_traceable, "code.first_traceable");
        may_be(layout.code.thread_copies, "code.thread_copies");
        is(layout.object.ob_type, "object.ob_type");
        is(layout.object.ob_size, "object.ob_size");
        is(layout.type_object.tp_name, "type_object.tp_name");
        is(layout.bytes.data, "bytes.data");
        is(layout.text.length, "unicode.length");
        is(layout.text.state, "unicode.state");
        is(layout.text.kind_shift, "unicode.kind_bit");
        is(layout.text.ascii_size, "unicode.ascii_data");
        is(layout.text.compact_size, "unicode.compact_data");
        may_be(layout.text.wide.map(|wide| wide.pointer), "unicode.wstr");
        may_be(layout.text.wide.map(|wide| wide.length), "unicode.wstr_length");
        match layout.gil {
            Gil::InRuntime(offset) => is(offset, "gil.runtime_offset"),
            Gil::PointerInInterpreter(offset) => is(offset, "gil.interpreter_pointer"),
        }
        is(layout.gil_last_holder, "gil.last_holder");
        is(layout.gil_locked, "gil.locked");
        // The size was found on one machine, and mutexes differ: what comes before them does not.
        let locks = 2 * (build.fact("gil.condition_bytes") + build.fact("gil.mutex_bytes"));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(u64::from(layout.gil_size_bytes), build.fact("gil.before_condition_bytes") + locks);
        }
        let first = 0x1000 + build.fact("gil.before_condition_bytes");
        let found = layout.gil_conditions(0x1000);
        assert_eq!(found[0], first);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(found[1], first + locks / 2);
        }
    }
}

fn with_table() -> impl Iterator<Item = Build> {
    build::all().into_iter().filter(|build| !build.debug_offsets().is_empty())
}

/// What the detection says with word `at` of the table replaced.
fn detect_with(build: &Build, at: usize, value: u64) -> Result<Layout, LayoutError> {
    let mut image = Image::new(build);
    image.put_word(RUNTIME + 8 * at as u64, value);
    Layout::detect(&build.identity(), &image, RUNTIME)
}

fn reason(build: &Build, at: usize, value: u64) -> String {
    match detect_with(build, at, value) {
        Err(LayoutError::DebugOffsets { what, .. }) => what.to_owned(),
        other => panic!("{}: word {at} as {value} gives {other:?}", build.name),
    }
}

#[test]
fn a_table_of_something_else_is_refused() {
    for build in with_table() {
        let version = build.fact("hexversion");
        assert_eq!(reason(&build, 0, 0), "it does not begin with its cookie");
        assert_eq!(reason(&build, 1, version + 0x100), "it is of another version than sys.hexversion");
        let other = u64::from(!build.is_free_threaded());
        assert_eq!(reason(&build, 2, other), "it disagrees with sys.abiflags about free threading");
    }
}

#[test]
fn a_table_that_ends_too_early_is_refused() {
    let build = build::named("3.14");
    let mut image = Image::new(&build);
    image.words.split_off(&(RUNTIME + 8 * 40));
    let error = Layout::detect(&build.identity(), &image, RUNTIME).expect_err("half a table");
    assert!(error.to_string().contains("CPython 3.14.10: the table ends too early;"), "{error}");
}

/// Words that may hold anything are those that are not used: with one of them changed, the layout is the same.
#[test]
fn every_word_that_is_used_is_checked() {
    let mut checked_in_3_15t = Vec::new();
    for build in with_table() {
        for at in 0..build.debug_offsets().len() {
            match detect_with(&build, at, u64::MAX) {
                Ok(layout) => assert_eq!(layout, build.layout(), "{}: word {at}", build.name),
                Err(LayoutError::DebugOffsets { what, .. }) if build.name == "3.15t" => checked_in_3_15t.push(what),
                Err(error) => assert!(matches!(error, LayoutError::DebugOffsets { .. }), "{error}"),
            }
        }
    }
    assert_eq!(
        checked_in_3_15t,
        [
            "it does not begin with its cookie",
            "it is of another version than sys.hexversion",
            "it disagrees with sys.abiflags about free threading",
            "the size of runtime_state",
            "runtime_state.interpreters_head",
            "the size of interpreter_state",
            "interpreter_state.next",
            "interpreter_state.threads_head",
            "gc.collecting",
            "interpreter_state.ceval_gil",
            "interpreter_state.gil_runtime_state_locked",
            "interpreter_state.gil_runtime_state_locked",
            "interpreter_state.gil_runtime_state_holder",
            "the size of thread_state",
            "thread_state.prev",
            "thread_state.next",
            "thread_state.interp",
            "thread_state.current_frame",
            "thread_state.base_frame",
            "thread_state.thread_id",
            "thread_state.native_thread_id",
            "thread_state.datastack_chunk",
            "the size of interpreter_frame",
            "interpreter_frame.previous",
            "interpreter_frame.executable",
            "interpreter_frame.instr_ptr",
            "interpreter_frame.owner",
            "interpreter_frame.tlbc_index",
            "the size of code_object",
            "code_object.filename",
            "code_object.qualname",
            "code_object.linetable",
            "code_object.firstlineno",
            "code_object.co_code_adaptive",
            "code_object.co_tlbc",
            "the size of pyobject",
            "pyobject.ob_type",
            "the size of type_object",
            "type_object.tp_name",
            "the size of tuple_object",
            "tuple_object.ob_size",
            "the size of bytes_object",
            "bytes_object.ob_sval",
            "the size of unicode_object",
            "unicode_object.state",
            "unicode_object.length",
            "unicode_object.asciiobject_size",
            "unicode_object.compactunicodeobject_size",
            "gc.collecting",
            "gc.frame",
        ]
    );
}

#[test]
fn a_field_must_be_aligned_and_inside_its_structure() {
    let build = build::named("3.13");
    let words = build.debug_offsets();
    // `thread_state`: size, prev, next.
    let (size_at, next_at) = (19, 21);
    assert_eq!((words[size_at], words[next_at]), (304, 8));
    assert_eq!(reason(&build, next_at, 12), "thread_state.next");
    assert_eq!(reason(&build, next_at, 304), "thread_state.next");
    assert_eq!(reason(&build, size_at, 100), "thread_state.thread_id");
    assert_eq!(reason(&build, size_at, 0), "the size of thread_state");
}

proptest! {
    #[test]
    fn any_damage_is_refused_or_harmless(
        which in 0usize..6,
        damage in proptest::collection::vec((3usize..111, prop_oneof![0u64..0x10_0000, any::<u64>()]), 1..4),
    ) {
        let build = with_table().nth(which).expect("six builds have a table");
        let mut image = Image::new(&build);
        for (at, value) in damage {
            image.put_word(RUNTIME + 8 * at as u64, value);
        }
        match Layout::detect(&build.identity(), &image, RUNTIME) {
            Ok(layout) => {
                prop_assert!(layout.thread_state.next.is_multiple_of(8) && layout.frame.code.is_multiple_of(8));
                prop_assert!(layout.text.compact_size <= 32 << 20);
            }
            Err(error) => prop_assert!(matches!(error, LayoutError::DebugOffsets { .. }), "{error}"),
        }
    }
}

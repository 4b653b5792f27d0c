//! The layout that CPython 3.13 and later carry about themselves: `_Py_DebugOffsets`, the first field of `_PyRuntime`.
//!
//! The table has a cookie and a version but no length, so which words mean what is chosen by the minor version
//! (`Include/internal/pycore_debug_offsets.h` of 3.14 and 3.15, `pycore_runtime.h` of 3.13). It is read as untrusted input:
//! every offset that is used must lie inside its structure and be aligned for its type.

use super::{
    Bytecode, BytesLayout, CodeLayout, FrameLayout, FrameSize, Gil, Innermost, Interpreter, Layout, LineTableKind,
    ObjectLayout, Position, Runtime, TextLayout, ThreadStateLayout, TypeLayout, gil_size_bytes, windows,
};
use crate::identity::Identity;
use crate::memory::{MAX_OFFSET_BYTES, Memory};

/// "xdebugpy" as a little-endian word.
const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");

/// The last beta of 3.15 that changed the table was b3 (0x030f00b3); it has been the same since.
const FIRST_FROZEN_3_15: u32 = 0x030f_00b4;

/// Larger than any of the structures: the interpreter state of 3.15 is about 300 KiB.
const MAX_STRUCTURE_BYTES: u64 = 16 << 20;

/// Where the first condition variable of `struct _gil_runtime_state` is; free-threaded builds begin with a flag more.
const GIL_CONDITION: u32 = 32;
const FREE_THREADED_GIL_CONDITION: u32 = 40;

/// A pre-release whose table is that of the final release.
pub(super) fn is_frozen_prerelease(identity: &Identity) -> bool {
    identity.version() == (3, 15) && identity.hexversion >= FIRST_FROZEN_3_15
}

/// The words of the table in their order.
struct Table<'a, M> {
    memory: &'a M,
    next: u64,
}

/// The size of a structure, against which its offsets are checked.
#[derive(Clone, Copy)]
struct Structure(u64);

impl Structure {
    /// `offset` as a field of `width` bytes in this structure.
    fn field(self, offset: u64, width: u64, name: &'static str) -> Result<u32, &'static str> {
        let fits = offset.checked_add(width).is_some_and(|end| end <= self.0);
        if fits && offset.is_multiple_of(width) { u32::try_from(offset).map_err(|_| name) } else { Err(name) }
    }

    fn pointer(self, offset: u64, name: &'static str) -> Result<u32, &'static str> {
        self.field(offset, 8, name)
    }

    fn int(self, offset: u64, name: &'static str) -> Result<u32, &'static str> {
        self.field(offset, 4, name)
    }

    fn byte(self, offset: u64, name: &'static str) -> Result<u32, &'static str> {
        self.field(offset, 1, name)
    }
}

impl<M: Memory> Table<'_, M> {
    fn word(&mut self) -> Result<u64, &'static str> {
        let word = self.memory.read_u64(self.next).map_err(|_| "the table ends too early")?;
        self.next = self.next.wrapping_add(8);
        Ok(word)
    }

    fn skip(&mut self, words: u64) {
        self.next = self.next.wrapping_add(8 * words);
    }

    fn structure(&mut self, name: &'static str) -> Result<Structure, &'static str> {
        let size = self.word()?;
        if (8..=MAX_STRUCTURE_BYTES).contains(&size) { Ok(Structure(size)) } else { Err(name) }
    }
}

/// Reads the table; the error names the first thing that was wrong.
pub(super) fn read<M: Memory>(identity: &Identity, memory: &M, runtime_address: u64) -> Result<Layout, &'static str> {
    let minor = identity.version().1;
    let (from_14, from_15) = (minor >= 14, minor >= 15);
    let free_threaded = identity.free_threaded;
    let mut table = Table { memory, next: runtime_address };
    if table.word()? != COOKIE {
        return Err("it does not begin with its cookie");
    }
    if table.word()? != u64::from(identity.hexversion) {
        return Err("it is of another version than sys.hexversion");
    }
    if table.word()? != u64::from(free_threaded) {
        return Err("it disagrees with sys.abiflags about free threading");
    }

    let runtime = table.structure("the size of runtime_state")?;
    table.skip(1); // finalizing
    let interpreters_head = runtime.pointer(table.word()?, "runtime_state.interpreters_head")?;

    let interpreter = table.structure("the size of interpreter_state")?;
    table.skip(1); // id
    let interpreter_next = interpreter.pointer(table.word()?, "interpreter_state.next")?;
    let threads_head = interpreter.pointer(table.word()?, "interpreter_state.threads_head")?;
    if from_14 {
        table.skip(1); // threads_main
    }
    let gc = table.word()?;
    table.skip(3); // imports_modules sysdict builtins
    let ceval_gil = interpreter.pointer(table.word()?, "interpreter_state.ceval_gil")?;
    let own_gil = table.word()?; // the interpreter's own, which `ceval_gil` points to unless it shares the main one's
    table.skip(1); // gil_runtime_state_enabled
    let gil_size_bytes = match free_threaded {
        _ if cfg!(windows) => windows::GIL_SIZE_BYTES,
        true => gil_size_bytes(FREE_THREADED_GIL_CONDITION),
        false => gil_size_bytes(GIL_CONDITION),
    };
    let gil = Structure(u64::from(gil_size_bytes));
    let gil_locked = gil.int(table.word()?.wrapping_sub(own_gil), "interpreter_state.gil_runtime_state_locked")?;
    let gil_last_holder =
        gil.pointer(table.word()?.wrapping_sub(own_gil), "interpreter_state.gil_runtime_state_holder")?;
    if from_14 {
        table.skip(2); // code_object_generation tlbc_generation
    }

    let thread = table.structure("the size of thread_state")?;
    let thread_previous = thread.pointer(table.word()?, "thread_state.prev")?;
    let thread_next = thread.pointer(table.word()?, "thread_state.next")?;
    let thread_interp = thread.pointer(table.word()?, "thread_state.interp")?;
    let current_frame = thread.pointer(table.word()?, "thread_state.current_frame")?;
    let base_frame = if from_15 {
        let offset = thread.pointer(table.word()?, "thread_state.base_frame")?;
        table.skip(2); // last_profiled_frame last_profiled_frame_seq
        Some(offset)
    } else {
        None
    };
    let id_bytes = if cfg!(windows) { windows::ID_BYTES } else { 8 };
    let thread_id = thread.field(table.word()?, u64::from(id_bytes), "thread_state.thread_id")?;
    let native_thread_id = thread.field(table.word()?, u64::from(id_bytes), "thread_state.native_thread_id")?;
    let datastack_chunk = thread.pointer(table.word()?, "thread_state.datastack_chunk")?;
    table.skip(1); // status
    if from_15 {
        table.skip(4); // holds_gil gil_requested current_exception exc_state
        table.skip(1); // err_stackitem.exc_value
    }

    let frame = table.structure("the size of interpreter_frame")?;
    if frame.0 > u64::from(MAX_OFFSET_BYTES) {
        return Err("the size of interpreter_frame");
    }
    let frame_previous = frame.pointer(table.word()?, "interpreter_frame.previous")?;
    let frame_executable = frame.pointer(table.word()?, "interpreter_frame.executable")?;
    let instr_ptr = frame.pointer(table.word()?, "interpreter_frame.instr_ptr")?;
    table.skip(1); // localsplus
    let owner = frame.byte(table.word()?, "interpreter_frame.owner")?;
    let mut tlbc_index = None;
    if from_14 {
        table.skip(1); // stackpointer
        let offset = table.word()?;
        if free_threaded {
            tlbc_index = Some(frame.int(offset, "interpreter_frame.tlbc_index")?);
        }
    }

    let code = table.structure("the size of code_object")?;
    let filename = code.pointer(table.word()?, "code_object.filename")?;
    table.skip(1); // name
    let qualname = code.pointer(table.word()?, "code_object.qualname")?;
    let line_table = code.pointer(table.word()?, "code_object.linetable")?;
    let first_line = code.int(table.word()?, "code_object.firstlineno")?;
    // `int co_firstlineno; int co_nlocalsplus; int co_framesize;` (`Include/cpython/code.h`, 3.13 to 3.15): not in the table.
    let frame_size = code.int(u64::from(first_line) + 8, "code_object.firstlineno")?;
    table.skip(3); // argcount localsplusnames localspluskinds
    let co_code_adaptive = code.byte(table.word()?, "code_object.co_code_adaptive")?;
    let mut thread_copies = None;
    if from_14 {
        let offset = table.word()?;
        if free_threaded {
            thread_copies = Some(code.pointer(offset, "code_object.co_tlbc")?);
        }
    }
    // `int _co_firsttraceable; void *co_extra; [_PyCodeArray *co_tlbc;] char co_code_adaptive[1];`
    // (`Include/cpython/code.h`, 3.13 to 3.15): it is not in the table, its neighbours' places are.
    let after_first_traceable = if thread_copies.is_some() { 24 } else { 16 };
    let first_traceable = u64::from(co_code_adaptive)
        .checked_sub(after_first_traceable)
        .ok_or("code_object.co_code_adaptive")
        .and_then(|offset| code.int(offset, "code_object.co_code_adaptive"))?;

    let object = table.structure("the size of pyobject")?;
    let ob_type = object.pointer(table.word()?, "pyobject.ob_type")?;

    let type_object = table.structure("the size of type_object")?;
    let tp_name = type_object.pointer(table.word()?, "type_object.tp_name")?;
    table.skip(2); // tp_repr tp_flags
    if from_15 {
        table.skip(2); // tp_basicsize tp_dictoffset
        table.skip(2); // heap_type_object: size ht_cached_keys
    }

    let tuple = table.structure("the size of tuple_object")?;
    table.skip(1); // ob_item
    let ob_size = tuple.pointer(table.word()?, "tuple_object.ob_size")?;
    table.skip(3); // list_object: size ob_item ob_size
    if from_14 {
        table.skip(4); // set_object: size used table mask
    }
    table.skip(3); // dict_object: size ma_keys ma_values
    table.skip(2); // float_object: size ob_fval
    table.skip(3); // long_object: size lv_tag ob_digit

    let bytes = table.structure("the size of bytes_object")?;
    table.skip(1); // ob_size
    let ob_sval = bytes.byte(table.word()?, "bytes_object.ob_sval")?;

    let text = table.structure("the size of unicode_object")?;
    let text_state = text.int(table.word()?, "unicode_object.state")?;
    let text_length = text.pointer(table.word()?, "unicode_object.length")?;
    let ascii_size = text.pointer(table.word()?.saturating_sub(8), "unicode_object.asciiobject_size")? + 8;
    // `PyCompactUnicodeObject` adds `utf8_length` and `utf8` (`Include/cpython/unicodeobject.h`, 3.12 to 3.15).
    let mut compact_size = ascii_size + 16;
    if from_15 {
        compact_size = text.pointer(table.word()?.saturating_sub(8), "unicode_object.compactunicodeobject_size")? + 8;
    }

    table.skip(1); // gc: size
    let collecting = table.word()?;
    let gc_collecting = gc
        .checked_add(collecting)
        .ok_or("gc.collecting")
        .and_then(|offset| interpreter.int(offset, "gc.collecting"))?;
    let gc_frame = if from_15 {
        let offset = gc.checked_add(table.word()?).ok_or("gc.frame")?;
        Some(interpreter.pointer(offset, "gc.frame")?)
    } else {
        None
    };

    Ok(Layout {
        identity: *identity,
        free_threaded,
        runtime: Runtime { interpreters_head },
        interpreter: Interpreter { next: interpreter_next, threads_head, gc_collecting, gc_frame },
        thread_state: ThreadStateLayout {
            previous: thread_previous,
            next: thread_next,
            interp: thread_interp,
            thread_id,
            id_bytes,
            native_thread_id: Some(native_thread_id),
            innermost: Innermost::Direct(current_frame),
            base_frame,
            datastack_chunk: Some(datastack_chunk),
        },
        frame: FrameLayout {
            previous: frame_previous,
            code: frame_executable,
            position: Position::Pointer(instr_ptr),
            owner: Some(owner),
            is_entry: None,
            tlbc_index,
        },
        code: CodeLayout {
            filename,
            name: qualname,
            first_line,
            line_table,
            line_table_kind: LineTableKind::Locations,
            bytecode: Bytecode::Inline(co_code_adaptive),
            first_traceable: Some(first_traceable),
            frame_size: Some(FrameSize::Words(frame_size)),
            thread_copies,
        },
        object: ObjectLayout { ob_type, ob_size },
        type_object: TypeLayout { tp_name },
        bytes: BytesLayout { data: ob_sval },
        text: TextLayout {
            length: text_length,
            state: text_state,
            // Free-threaded from 3.14 gives `interned` a byte of its own (`Include/cpython/unicodeobject.h`).
            kind_shift: if free_threaded && from_14 { 8 } else { 2 },
            ascii_size,
            compact_size,
            wide: None,
        },
        gil: Gil::PointerInInterpreter(ceval_gil),
        gil_size_bytes,
        gil_last_holder,
        gil_locked,
        gil_waiters: if cfg!(windows) && !free_threaded { Some(windows::GIL_CONDITIONS) } else { None },
    })
}

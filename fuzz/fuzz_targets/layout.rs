//! The interpreter's own table of offsets, as untrusted input: refused, or every offset lies inside a structure that can be.
#![no_main]

use std::sync::LazyLock;

use interpreter::layout::{Bytecode, Gil, Innermost, Position};
use interpreter::{Fault, Identity, Layout, Memory};
use libfuzzer_sys::fuzz_target;
use spprof_fuzz::input::Input;
use spprof_fuzz::tables;

/// Larger than any structure may be, by what follows the last field.
const MAX_OFFSET: u32 = (16 << 20) + 64;

static TABLES: LazyLock<Vec<(Identity, Vec<u64>)>> = LazyLock::new(tables);

const RUNTIME: u64 = 0x10_0000;

struct Table(Vec<u64>);

impl Memory for Table {
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        let offset = address.checked_sub(RUNTIME).filter(|offset| offset.is_multiple_of(8)).ok_or(Fault)?;
        self.0.get(usize::try_from(offset / 8).map_err(|_| Fault)?).copied().ok_or(Fault)
    }
}

fn offsets(layout: &Layout) -> Vec<u32> {
    let state = &layout.thread_state;
    let mut all = vec![
        layout.runtime.interpreters_head,
        layout.interpreter.next,
        layout.interpreter.threads_head,
        layout.interpreter.gc_collecting,
        state.next,
        state.interp,
        state.thread_id,
        layout.frame.previous,
        layout.frame.code,
        layout.code.filename,
        layout.code.name,
        layout.code.first_line,
        layout.code.line_table,
        layout.object.ob_type,
        layout.object.ob_size,
        layout.type_object.tp_name,
        layout.bytes.data,
        layout.text.length,
        layout.text.state,
        layout.text.ascii_size,
        layout.text.compact_size,
        layout.gil_last_holder,
        layout.gil_locked,
    ];
    all.extend(state.native_thread_id);
    all.extend(state.base_frame);
    all.extend(layout.frame.owner);
    all.extend(layout.frame.tlbc_index);
    all.extend(layout.code.first_traceable);
    all.extend(layout.code.thread_copies);
    match state.innermost {
        Innermost::Direct(offset) => all.push(offset),
        Innermost::ThroughCFrame { cframe, current_frame } => all.extend([cframe, current_frame]),
    }
    match layout.frame.position {
        Position::LastIndexBytes(offset) | Position::LastIndexUnits(offset) | Position::Pointer(offset) => {
            all.push(offset)
        }
    }
    match layout.code.bytecode {
        Bytecode::Object(offset) | Bytecode::Inline(offset) => all.push(offset),
    }
    match layout.gil {
        Gil::InRuntime(offset) | Gil::PointerInInterpreter(offset) => all.push(offset),
    }
    all
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (mut identity, mut words) = TABLES[usize::from(input.byte()) % TABLES.len()].clone();
    match input.byte() {
        // A table of the input's own, behind a beginning that gets it looked at.
        0 => {
            let kept = words.len().min(3);
            words.truncate(kept);
            while !input.is_empty() {
                words.push(u64::from(input.short()));
            }
        }
        1 => {
            identity = Identity {
                hexversion: input.int(),
                free_threaded: input.byte() & 1 == 1,
                debug: input.byte() & 1 == 1,
                trace_refs: input.byte() & 1 == 1,
                is_cpython: input.byte() & 1 == 0,
            };
        }
        _ => {}
    }
    while !input.is_empty() && !words.is_empty() {
        let place = usize::from(input.byte()) % words.len();
        match input.byte() % 4 {
            0 => words[place] = input.word(),
            1 => words[place] = u64::from(input.short()),
            2 => words[place] ^= 1 << (input.byte() & 63),
            _ => words.truncate(place),
        }
    }
    match Layout::detect(&identity, &Table(words), RUNTIME) {
        Ok(layout) => {
            let offsets = offsets(&layout);
            assert!(offsets.iter().all(|offset| *offset <= MAX_OFFSET), "{offsets:?}");
            assert!(!layout.describe().is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

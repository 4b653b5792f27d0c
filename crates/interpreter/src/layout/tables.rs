//! Layouts of the versions that do not describe themselves: 3.9 to 3.12, release builds with the GIL, 64-bit.
//!
//! Written by `tools/layouts/generate.py`, which compiles `tools/layouts/layouts.c` against the headers of an
//! interpreter of each version; `generate.py --check` compares. Change the generator, not this file. The numbers hold
//! for every final release of a minor version: CPython does not change these structures in patch releases.

use super::{
    Bytecode, BytesLayout, CodeLayout, FrameLayout, FrameSize, Gil, Innermost, Interpreter, Layout, LineTableKind,
    ObjectLayout, Position, Runtime, TextLayout, ThreadStateLayout, TypeLayout, WideText, gil_size_bytes,
};
use crate::identity::Identity;

/// From the headers of 3.9.18.
pub(super) fn python_3_9(identity: Identity) -> Layout {
    Layout {
        identity,
        free_threaded: false,
        runtime: Runtime { interpreters_head: 32 },
        interpreter: Interpreter { next: 0, threads_head: 8, gc_collecting: 816, gc_frame: None },
        thread_state: ThreadStateLayout {
            previous: 0,
            next: 8,
            interp: 16,
            thread_id: 176,
            id_bytes: 8,
            native_thread_id: None,
            innermost: Innermost::Direct(24),
            base_frame: None,
            datastack_chunk: None,
        },
        frame: FrameLayout {
            previous: 24,
            code: 32,
            position: Position::LastIndexBytes(104),
            owner: None,
            is_entry: None,
            tlbc_index: None,
        },
        code: CodeLayout {
            filename: 104,
            name: 112,
            first_line: 40,
            line_table: 120,
            line_table_kind: LineTableKind::Lnotab,
            bytecode: Bytecode::Object(48),
            first_traceable: None,
            frame_size: None,
            thread_copies: None,
        },
        object: ObjectLayout { ob_type: 8, ob_size: 16 },
        type_object: TypeLayout { tp_name: 24 },
        bytes: BytesLayout { data: 32 },
        text: TextLayout {
            length: 16,
            state: 32,
            kind_shift: 2,
            ascii_size: 48,
            compact_size: 72,
            wide: Some(WideText { pointer: 40, length: 64 }),
        },
        gil: Gil::InRuntime(352),
        gil_size_bytes: gil_size_bytes(32),
        gil_last_holder: 8,
        gil_locked: 16,
        gil_waiters: None,
    }
}

/// From the headers of 3.10.13.
pub(super) fn python_3_10(identity: Identity) -> Layout {
    Layout {
        identity,
        free_threaded: false,
        runtime: Runtime { interpreters_head: 32 },
        interpreter: Interpreter { next: 0, threads_head: 8, gc_collecting: 816, gc_frame: None },
        thread_state: ThreadStateLayout {
            previous: 0,
            next: 8,
            interp: 16,
            thread_id: 176,
            id_bytes: 8,
            native_thread_id: None,
            innermost: Innermost::Direct(24),
            base_frame: None,
            datastack_chunk: None,
        },
        frame: FrameLayout {
            previous: 24,
            code: 32,
            position: Position::LastIndexUnits(96),
            owner: None,
            is_entry: None,
            tlbc_index: None,
        },
        code: CodeLayout {
            filename: 104,
            name: 112,
            first_line: 40,
            line_table: 120,
            line_table_kind: LineTableKind::Ranges,
            bytecode: Bytecode::Object(48),
            first_traceable: None,
            frame_size: None,
            thread_copies: None,
        },
        object: ObjectLayout { ob_type: 8, ob_size: 16 },
        type_object: TypeLayout { tp_name: 24 },
        bytes: BytesLayout { data: 32 },
        text: TextLayout {
            length: 16,
            state: 32,
            kind_shift: 2,
            ascii_size: 48,
            compact_size: 72,
            wide: Some(WideText { pointer: 40, length: 64 }),
        },
        gil: Gil::InRuntime(352),
        gil_size_bytes: gil_size_bytes(32),
        gil_last_holder: 8,
        gil_locked: 16,
        gil_waiters: None,
    }
}

/// From the headers of 3.11.7.
pub(super) fn python_3_11(identity: Identity) -> Layout {
    Layout {
        identity,
        free_threaded: false,
        runtime: Runtime { interpreters_head: 40 },
        interpreter: Interpreter { next: 0, threads_head: 16, gc_collecting: 848, gc_frame: None },
        thread_state: ThreadStateLayout {
            previous: 0,
            next: 8,
            interp: 16,
            thread_id: 152,
            id_bytes: 8,
            native_thread_id: Some(160),
            innermost: Innermost::ThroughCFrame { cframe: 56, current_frame: 8 },
            base_frame: None,
            datastack_chunk: Some(296),
        },
        frame: FrameLayout {
            previous: 48,
            code: 32,
            position: Position::Pointer(56),
            owner: Some(69),
            is_entry: Some(68),
            tlbc_index: None,
        },
        code: CodeLayout {
            filename: 112,
            name: 128,
            first_line: 72,
            line_table: 136,
            line_table_kind: LineTableKind::Locations,
            bytecode: Bytecode::Inline(184),
            first_traceable: Some(168),
            frame_size: Some(FrameSize::Parts { locals: 76, stack: 68, specials_words: 9 }),
            thread_copies: None,
        },
        object: ObjectLayout { ob_type: 8, ob_size: 16 },
        type_object: TypeLayout { tp_name: 24 },
        bytes: BytesLayout { data: 32 },
        text: TextLayout {
            length: 16,
            state: 32,
            kind_shift: 2,
            ascii_size: 48,
            compact_size: 72,
            wide: Some(WideText { pointer: 40, length: 64 }),
        },
        gil: Gil::InRuntime(360),
        gil_size_bytes: gil_size_bytes(32),
        gil_last_holder: 8,
        gil_locked: 16,
        gil_waiters: None,
    }
}

/// From the headers of 3.12.1.
pub(super) fn python_3_12(identity: Identity) -> Layout {
    Layout {
        identity,
        free_threaded: false,
        runtime: Runtime { interpreters_head: 40 },
        interpreter: Interpreter { next: 0, threads_head: 72, gc_collecting: 312, gc_frame: None },
        thread_state: ThreadStateLayout {
            previous: 0,
            next: 8,
            interp: 16,
            thread_id: 136,
            id_bytes: 8,
            native_thread_id: Some(144),
            innermost: Innermost::ThroughCFrame { cframe: 56, current_frame: 0 },
            base_frame: None,
            datastack_chunk: Some(232),
        },
        frame: FrameLayout {
            previous: 8,
            code: 0,
            position: Position::Pointer(56),
            owner: Some(70),
            is_entry: None,
            tlbc_index: None,
        },
        code: CodeLayout {
            filename: 112,
            name: 128,
            first_line: 68,
            line_table: 136,
            line_table_kind: LineTableKind::Locations,
            bytecode: Bytecode::Inline(192),
            first_traceable: Some(176),
            frame_size: Some(FrameSize::Words(76)),
            thread_copies: None,
        },
        object: ObjectLayout { ob_type: 8, ob_size: 16 },
        type_object: TypeLayout { tp_name: 24 },
        bytes: BytesLayout { data: 32 },
        text: TextLayout { length: 16, state: 32, kind_shift: 2, ascii_size: 40, compact_size: 56, wide: None },
        gil: Gil::PointerInInterpreter(384),
        gil_size_bytes: gil_size_bytes(32),
        gil_last_holder: 8,
        gil_locked: 16,
        gil_waiters: None,
    }
}

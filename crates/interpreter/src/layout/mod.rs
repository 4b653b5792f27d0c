//! Where the structures of one interpreter build keep what we read: offsets in bytes, chosen and checked once.

mod debug_offsets;
mod tables;
mod windows;

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::identity::Identity;
use crate::memory::Memory;

/// All offsets of one build. Plain data; made by [`Layout::detect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the interpreter said it is.
    pub identity: Identity,
    /// Built without the GIL.
    pub free_threaded: bool,
    /// `_PyRuntimeState`.
    pub runtime: Runtime,
    /// `PyInterpreterState`.
    pub interpreter: Interpreter,
    /// `PyThreadState`.
    pub thread_state: ThreadStateLayout,
    /// `PyFrameObject` up to 3.10, `_PyInterpreterFrame` from 3.11.
    pub frame: FrameLayout,
    /// `PyCodeObject`.
    pub code: CodeLayout,
    /// `PyObject` and `PyVarObject`.
    pub object: ObjectLayout,
    /// `PyTypeObject`.
    pub type_object: TypeLayout,
    /// `PyBytesObject`.
    pub bytes: BytesLayout,
    /// `PyASCIIObject` and what follows it.
    pub text: TextLayout,
    /// Where the lock is that a thread waits for.
    pub gil: Gil,
    /// `sizeof(struct _gil_runtime_state)`.
    pub gil_size_bytes: u32,
    /// `last_holder` in it: the thread state that took it last.
    pub gil_last_holder: u32,
    /// `locked` in it, an int.
    pub gil_locked: u32,
    /// What in it says whether any thread waits for it; only where a thread cannot be asked what it waits for (Windows).
    pub gil_waiters: Option<GilWaiters>,
}

/// Offsets in `_PyRuntimeState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// `interpreters.head`: the newest interpreter.
    pub interpreters_head: u32,
}

/// Offsets in `PyInterpreterState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// `next`: the interpreter made before.
    pub next: u32,
    /// `tstate_head` or `threads.head`: the newest thread state.
    pub threads_head: u32,
    /// `gc.collecting`, an int: a collection is running.
    pub gc_collecting: u32,
    /// `gc.frame`, from 3.15: the innermost frame of the thread that collects.
    pub gc_frame: Option<u32>,
}

/// Offsets in `PyThreadState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStateLayout {
    /// `prev`: the thread state made after.
    pub previous: u32,
    /// `next`: the thread state made before.
    pub next: u32,
    /// `interp`.
    pub interp: u32,
    /// `thread_id`: `pthread_self()` of the thread, on Windows the system's id of it.
    pub thread_id: u32,
    /// `sizeof(unsigned long)`, the type of both ids: 4 on Windows, 8 elsewhere.
    pub id_bytes: u32,
    /// `native_thread_id`, from 3.11; on Windows before as well, where `thread_id` is the same.
    pub native_thread_id: Option<u32>,
    /// Where the innermost frame is found.
    pub innermost: Innermost,
    /// `base_frame`, from 3.15: a pointer to the frame that every chain ends in.
    pub base_frame: Option<u32>,
    /// `datastack_chunk`, from 3.11: a pointer to the newest piece of the stack that frames are on.
    pub datastack_chunk: Option<u32>,
}

/// The way from a thread state to its innermost frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Innermost {
    /// The thread state points to it: `frame` up to 3.10, `current_frame` from 3.13.
    Direct(u32),
    /// 3.11 and 3.12: `cframe`, and in what that points to, `current_frame`.
    ThroughCFrame {
        /// Offset in `PyThreadState`.
        cframe: u32,
        /// Offset in `_PyCFrame`.
        current_frame: u32,
    },
}

/// Offsets in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    /// `f_back` or `previous`.
    pub previous: u32,
    /// `f_code` or `f_executable`.
    pub code: u32,
    /// Where the frame is in its code.
    pub position: Position,
    /// `owner`, a byte, from 3.11: 3 and above is not a Python frame.
    pub owner: Option<u32>,
    /// `is_entry`, a bool, 3.11 alone: C code entered the interpreter by this frame. Later versions have a frame for that.
    pub is_entry: Option<u32>,
    /// Free-threaded from 3.14: `tlbc_index`, which of the code's copies `instr_ptr` points into.
    pub tlbc_index: Option<u32>,
}

/// How a frame says which instruction it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// 3.9: `f_lasti`, an int in bytes, -1 before the first.
    LastIndexBytes(u32),
    /// 3.10: `f_lasti`, an int in code units.
    LastIndexUnits(u32),
    /// 3.11 and 3.12: `prev_instr`, a pointer to the instruction last begun.
    /// From 3.13: `instr_ptr`, a pointer to the instruction being executed, at the call in a caller.
    Pointer(u32),
}

/// Offsets in `PyCodeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLayout {
    /// `co_filename`.
    pub filename: u32,
    /// `co_qualname` from 3.11, `co_name` before: the best name that a code object has.
    pub name: u32,
    /// `co_firstlineno`, an int.
    pub first_line: u32,
    /// `co_lnotab` or `co_linetable`.
    pub line_table: u32,
    /// How that is encoded.
    pub line_table_kind: LineTableKind,
    /// Where the instructions are.
    pub bytecode: Bytecode,
    /// From 3.11: `_co_firsttraceable`, an int in code units.
    pub first_traceable: Option<u32>,
    /// From 3.11: how large a frame of it is.
    pub frame_size: Option<FrameSize>,
    /// Free-threaded from 3.14: `co_tlbc`, a pointer to `{ size; char *entries[size]; }`.
    pub thread_copies: Option<u32>,
}

/// Where a code object says how large its frames are, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSize {
    /// 3.11: `co_nlocalsplus` and `co_stacksize`, ints, and a number that is the same for all.
    Parts {
        /// Offset of `co_nlocalsplus`.
        locals: u32,
        /// Offset of `co_stacksize`.
        stack: u32,
        /// `FRAME_SPECIALS_SIZE`.
        specials_words: u32,
    },
    /// From 3.12: `co_framesize`, an int.
    Words(u32),
}

/// The three encodings of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineTableKind {
    /// 3.9: `co_lnotab`, pairs of address and line deltas.
    Lnotab,
    /// 3.10: `co_linetable` of PEP 626, pairs of range length and line delta.
    Ranges,
    /// From 3.11: the location table of PEP 657.
    Locations,
}

/// Where a code object keeps its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytecode {
    /// Up to 3.10: `co_code`, a bytes object.
    Object(u32),
    /// From 3.11: in the code object itself, from `co_code_adaptive` on; `ob_size` is its length in code units.
    Inline(u32),
}

/// Offsets in `PyObject` and `PyVarObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLayout {
    /// `ob_type`.
    pub ob_type: u32,
    /// `ob_size`.
    pub ob_size: u32,
}

/// Offsets in `PyTypeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeLayout {
    /// `tp_name`.
    pub tp_name: u32,
}

/// Offsets in `PyBytesObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytesLayout {
    /// `ob_sval`: the first byte.
    pub data: u32,
}

/// Offsets in the string structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLayout {
    /// `length`, in characters.
    pub length: u32,
    /// `state`, 32 bits.
    pub state: u32,
    /// Bit of `state` at which the three bits of `kind` begin; `compact` and `ascii` follow them.
    pub kind_shift: u32,
    /// `sizeof(PyASCIIObject)`: where compact ASCII keeps its characters.
    pub ascii_size: u32,
    /// `sizeof(PyCompactUnicodeObject)`: where other compact strings do, and legacy ones their pointer.
    pub compact_size: u32,
    /// Up to 3.11: a string may have only its `wchar_t` form.
    pub wide: Option<WideText>,
}

/// Up to 3.11: offsets of a string that was never made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WideText {
    /// `wstr` in `PyASCIIObject`.
    pub pointer: u32,
    /// `wstr_length` in `PyCompactUnicodeObject`.
    pub length: u32,
}

/// Where the GIL's own structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gil {
    /// Up to 3.11: `ceval.gil` inside `_PyRuntimeState`.
    InRuntime(u32),
    /// From 3.12: `ceval.gil` in `PyInterpreterState` points to it.
    PointerInInterpreter(u32),
}

/// Where the GIL shows on Windows that threads wait: its two condition variables, the second of which is for a thread that has let go of
/// it and waits until another has taken it, each with a lock behind it (`Include/internal/pycore_condvar.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GilWaiters {
    /// CPython's own condition variables, up to 3.12: `waiting`, an int that is zero while nobody waits, 16 bytes before the
    /// `LockCount` of a CRITICAL_SECTION, which is -1 while nobody has it.
    Counts([u32; 2]),
    /// The system's, from 3.13: a pointer-sized word that is zero while nobody waits, before an SRWLOCK, which is zero while nobody
    /// has it.
    Words([u32; 2]),
}

/// From `waiting` to `LockCount`: `{ HANDLE sem; int waiting; }`, and `{ void *DebugInfo; LONG LockCount; ... }`.
const LOCK_COUNT_AFTER_WAITING_BYTES: u32 = 16;
const LOCK_AFTER_CONDITION_BYTES: u32 = 8;

/// `sizeof(pthread_cond_t)` of glibc and musl.
const CONDITION_BYTES: u32 = 48;
/// `sizeof(pthread_mutex_t)` of both; glibc has a larger one on aarch64.
const MUTEX_BYTES: u32 = if cfg!(all(target_arch = "aarch64", target_env = "gnu")) { 48 } else { 40 };

/// `sizeof(struct _gil_runtime_state)` where the first of its two condition variables is at that offset; each is followed by
/// a mutex, and nothing else follows (`Include/internal/pycore_gil.h`, 3.9 to 3.15).
const fn gil_size_bytes(before_condition_bytes: u32) -> u32 {
    before_condition_bytes + 2 * (CONDITION_BYTES + MUTEX_BYTES)
}

/// A garbage collection that is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The frame that was the innermost of the collecting thread when it began, 0 for none. `None` where the interpreter
    /// does not say (up to 3.14).
    pub innermost_frame: Option<u64>,
}

/// Why an interpreter's layout is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// Another implementation, version or kind of build.
    Unsupported(Identity),
    /// The table of offsets in `_PyRuntime` is not what this version has.
    DebugOffsets {
        /// Whose table.
        identity: Identity,
        /// The first thing that was wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(identity) => write!(
                f,
                "spprof does not know the memory layout of this interpreter, {identity}; \
                 it supports release builds of CPython 3.9 to 3.15 on 64-bit systems"
            ),
            Self::DebugOffsets { identity, what } => write!(
                f,
                "spprof cannot trust the table of offsets of this interpreter, {identity}: {what}; \
                 it supports unmodified release builds of CPython 3.9 to 3.15"
            ),
        }
    }
}

impl core::error::Error for LayoutError {}

impl Layout {
    /// The layout of the interpreter that says it is `identity` and whose `_PyRuntime` is at `runtime_address`.
    ///
    /// # Errors
    /// [`LayoutError`] for whatever is not known to the byte: nothing is guessed.
    pub fn detect<M: Memory>(identity: &Identity, memory: &M, runtime_address: u64) -> Result<Self, LayoutError> {
        let unsupported = LayoutError::Unsupported(*identity);
        if !identity.is_cpython || identity.debug || identity.trace_refs || cfg!(not(target_pointer_width = "64")) {
            return Err(unsupported);
        }
        if identity.is_prerelease() && !debug_offsets::is_frozen_prerelease(identity) {
            return Err(unsupported);
        }
        let layout = match (identity.version(), identity.free_threaded) {
            ((3, 9), false) => tables::python_3_9(*identity),
            ((3, 10), false) => tables::python_3_10(*identity),
            ((3, 11), false) => tables::python_3_11(*identity),
            ((3, 12), false) => tables::python_3_12(*identity),
            ((3, 13..=15), _) => {
                return debug_offsets::read(identity, memory, runtime_address)
                    .map_err(|what| LayoutError::DebugOffsets { identity: *identity, what });
            }
            _ => return Err(unsupported),
        };
        Ok(if cfg!(windows) { windows::adapted(layout) } else { layout })
    }

    /// One sentence for people: what it is and where the offsets come from.
    pub fn describe(&self) -> String {
        let source = if self.identity.version() >= (3, 13) { "its own table" } else { "a built-in table" };
        format!("{}, structure offsets from {source}", self.identity)
    }

    /// The garbage collection that goes on in the interpreter of `thread_state`, or `None`; handler-safe.
    pub fn collection<M: Memory>(&self, memory: &M, thread_state: u64) -> Option<Collection> {
        let at = |address: u64, offset: u32| address.wrapping_add(u64::from(offset));
        let interpreter = memory.read_u64(at(thread_state, self.thread_state.interp)).ok()?;
        if memory.read_u32(at(interpreter, self.interpreter.gc_collecting)).ok()? == 0 {
            return None;
        }
        let innermost_frame = match self.interpreter.gc_frame {
            Some(offset) => Some(memory.read_u64(at(interpreter, offset)).ok()?),
            None => None,
        };
        Some(Collection { innermost_frame })
    }

    /// Address of the innermost frame of the thread whose state is at `thread_state`, 0 where it has none; handler-safe.
    pub fn innermost_frame<M: Memory>(&self, memory: &M, thread_state: u64) -> Option<u64> {
        crate::frame_walk::innermost(memory, self, thread_state).ok()
    }

    /// The system's or the interpreter's id of a thread that is at `offset` in the thread state at `thread_state`.
    pub fn thread_id<M: Memory>(&self, memory: &M, thread_state: u64, offset: u32) -> Option<u64> {
        let address = thread_state.wrapping_add(u64::from(offset));
        match self.thread_state.id_bytes {
            4 => memory.read_u32(address).map(u64::from).ok(),
            _ => memory.read_u64(address).ok(),
        }
    }

    /// Whether no thread waits for the GIL whose structure is at `gil`, nor for the locks in it; `false` where it does not say.
    pub fn nobody_waits_for<M: Memory>(&self, memory: &M, gil: u64) -> bool {
        let int = |offset: u32| memory.read_u32(gil.wrapping_add(u64::from(offset)));
        let word = |offset: u32| memory.read_u64(gil.wrapping_add(u64::from(offset)));
        match self.gil_waiters {
            None => false,
            Some(GilWaiters::Counts(counts)) => counts
                .iter()
                .all(|at| int(*at) == Ok(0) && int(at + LOCK_COUNT_AFTER_WAITING_BYTES) == Ok((-1i32).cast_unsigned())),
            Some(GilWaiters::Words(words)) => {
                words.iter().all(|at| word(*at) == Ok(0) && word(at + LOCK_AFTER_CONDITION_BYTES) == Ok(0))
            }
        }
    }

    /// Address of the structure of the GIL that `thread_state` would have to take; handler-safe.
    pub fn gil_address<M: Memory>(&self, memory: &M, runtime_address: u64, thread_state: u64) -> Option<u64> {
        match self.gil {
            Gil::InRuntime(offset) => runtime_address.checked_add(u64::from(offset)),
            Gil::PointerInInterpreter(offset) => {
                let interpreter =
                    memory.read_u64(thread_state.checked_add(u64::from(self.thread_state.interp))?).ok()?;
                memory.read_u64(interpreter.checked_add(u64::from(offset))?).ok()
            }
        }
    }

    /// Addresses of the two `pthread_cond_t` of the GIL whose structure is at `gil`: `cond`, for those who want it, and
    /// `switch_cond`, for the one that has let go of it and waits until another has taken it. Not on Windows.
    pub fn gil_conditions(&self, gil: u64) -> [u64; 2] {
        let end = gil.wrapping_add(u64::from(self.gil_size_bytes));
        let pair_bytes = u64::from(CONDITION_BYTES + MUTEX_BYTES);
        [end.wrapping_sub(2 * pair_bytes), end.wrapping_sub(pair_bytes)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::fake::FakeMemory;
    use alloc::string::ToString;

    fn identity(hexversion: u32) -> Identity {
        Identity { hexversion, free_threaded: false, debug: false, trace_refs: false, is_cpython: true }
    }

    fn detect(identity: Identity) -> Result<Layout, LayoutError> {
        Layout::detect(&identity, &FakeMemory::default(), 0x1000)
    }

    #[test]
    fn versions_with_tables_are_known() {
        for minor in 9..=12 {
            let identity = identity(0x0300_01f0 | minor << 16);
            assert_eq!(detect(identity).map(|layout| layout.identity), Ok(identity));
        }
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let refused = |identity: Identity| detect(identity).expect_err("must be refused").to_string();
        assert!(refused(identity(0x0308_12f0)).contains("CPython 3.8.18"));
        assert!(refused(identity(0x0310_00f0)).contains("CPython 3.16.0"));
        assert!(refused(identity(0x030c_00c1)).contains("CPython 3.12.0rc1"));
        assert!(refused(identity(0x030f_00b3)).contains("CPython 3.15.0b3"));
        assert!(refused(Identity { debug: true, ..identity(0x030c_01f0) }).contains("debug build"));
        assert!(refused(Identity { trace_refs: true, ..identity(0x030c_01f0) }).contains("trace-refs"));
        assert!(refused(Identity { is_cpython: false, ..identity(0x0309_01f0) }).contains("other than CPython"));
        assert!(refused(Identity { free_threaded: true, ..identity(0x030c_01f0) }).contains("free-threaded"));
    }
}

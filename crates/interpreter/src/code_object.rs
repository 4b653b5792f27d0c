//! What a code object says: names, file, lines.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::layout::{Bytecode, Layout};
use crate::line_table::LineTable;
use crate::memory::{Fault, Memory};
use crate::text::read_text;

/// A line table larger than this is not one: the largest of the standard library has 60 KiB.
const MAX_LINE_TABLE_BYTES: u64 = 64 << 20;

/// Up to this size it is not asked beforehand whether there is memory for a line table.
const USUAL_LINE_TABLE_BYTES: u64 = 64 << 10;

/// A code object, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeObject {
    /// `co_qualname`; `co_name` up to 3.10, where a code object has no qualified name.
    pub name: String,
    /// `co_filename`.
    pub filename: String,
    /// `co_firstlineno`.
    pub first_line: u32,
    /// Lines by instruction.
    pub lines: LineTable,
    /// Size of the bytecode.
    pub bytecode_len_bytes: u32,
    /// Offset of the first instruction at which the function has begun; `None` up to 3.10, where a frame is shown from the
    /// moment that it is linked.
    first_traceable_bytes: Option<u32>,
}

/// Why something is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Memory that is not there.
    Fault,
    /// A name is not a string.
    NotText,
    /// The line table or the bytecode has a size that cannot be.
    Size,
    /// There is no memory to read the line table into.
    Memory,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "the code object points to memory that is not there",
            Self::NotText => "a name of the code object is not a string",
            Self::Size => "a table of the code object has a size that cannot be",
            Self::Memory => "there is no memory for the line table of the code object",
        })
    }
}

impl core::error::Error for ReadError {}

impl From<Fault> for ReadError {
    fn from(Fault: Fault) -> Self {
        Self::Fault
    }
}

impl CodeObject {
    /// Whether a frame at that instruction has begun. From 3.11 tracebacks do not show it before the function's first
    /// traceable instruction (`_PyFrame_IsIncomplete`, CPython `Include/internal/pycore_frame.h`); up to 3.10 they always
    /// do, also with `f_lasti` still -1, as in a trace function called for the call.
    pub fn is_begun(&self, instruction_offset_bytes: i32) -> bool {
        self.first_traceable_bytes.is_none_or(|first| i64::from(instruction_offset_bytes) >= i64::from(first))
    }

    /// Code that the interpreter runs for its own purposes and that is never shown: the fake frame below `__init__` when
    /// `Class()` is specialised (3.13 and later, `Objects/codeobject.c`, `_Py_InitCleanup`). Its first traceable
    /// instruction lies behind its code, so it never begins. The other shims are known by their frame's owner.
    pub fn is_interpreter_shim(&self) -> bool {
        self.first_traceable_bytes.is_some_and(|first| first >= self.bytecode_len_bytes)
    }
}

/// Reads the code object at `code_address`, which must not be freed meanwhile.
///
/// # Errors
/// [`ReadError`] if there is none.
pub fn read_code<M: Memory>(memory: &M, layout: &Layout, code_address: u64) -> Result<CodeObject, ReadError> {
    let code = &layout.code;
    let at = |offset: u32| code_address.wrapping_add(u64::from(offset));
    let name = read_text(memory, layout, memory.read_u64(at(code.name))?)?;
    let filename = read_text(memory, layout, memory.read_u64(at(code.filename))?)?;
    // An int in C; code made by hand may give it a negative value.
    let first_line = memory.read_u32(at(code.first_line))? as i32;
    let table = read_bytes_object(memory, layout, memory.read_u64(at(code.line_table))?)?;
    let bytecode_len_bytes = match code.bytecode {
        Bytecode::Object(offset) => {
            let bytecode = memory.read_u64(at(offset))?;
            memory.read_u64(bytecode.wrapping_add(u64::from(layout.object.ob_size)))?
        }
        Bytecode::Inline(_) => memory.read_u64(at(layout.object.ob_size))?.checked_mul(2).ok_or(ReadError::Size)?,
    };
    let first_traceable_bytes = match code.first_traceable {
        Some(offset) => Some(memory.read_u32(at(offset))?.saturating_mul(2)),
        None => None,
    };
    // Offsets of instructions are ints, in C as here.
    let bytecode_len_bytes = i32::try_from(bytecode_len_bytes).map_err(|_| ReadError::Size)?.unsigned_abs();
    Ok(CodeObject {
        name,
        filename,
        first_line: first_line.max(0) as u32,
        lines: LineTable::decode(code.line_table_kind, &table, first_line, bytecode_len_bytes),
        bytecode_len_bytes,
        first_traceable_bytes,
    })
}

fn read_bytes_object<M: Memory>(memory: &M, layout: &Layout, address: u64) -> Result<Vec<u8>, ReadError> {
    let size = memory.read_u64(address.wrapping_add(u64::from(layout.object.ob_size)))?;
    if size > MAX_LINE_TABLE_BYTES {
        return Err(ReadError::Size);
    }
    if size > USUAL_LINE_TABLE_BYTES {
        // Before anything is begun that could not be finished: the decoded table takes 8 bytes an entry and has at most as many
        // entries as this one bytes.
        Vec::<u64>::new().try_reserve_exact(size as usize).map_err(|_| ReadError::Memory)?;
    }
    let mut bytes = vec![0; size as usize];
    memory.read_bytes(address.wrapping_add(u64::from(layout.bytes.data)), &mut bytes)?;
    Ok(bytes)
}

//! Python strings of every kind.

use alloc::string::String;
use alloc::vec;

use crate::code_object::ReadError;
use crate::layout::Layout;
use crate::memory::Memory;

/// Names and file names longer than this are cut and end in "…"; generated code has names of thousands of characters.
const MAX_CHARACTERS: u64 = 64 << 10;

/// How a string keeps its characters.
struct Characters {
    address: u64,
    width_bytes: usize,
    length: u64,
}

/// The string object at `address`. Lone surrogates become U+FFFD.
///
/// # Errors
/// [`ReadError`] if there is no string there.
pub fn read_text<M: Memory>(memory: &M, layout: &Layout, address: u64) -> Result<String, ReadError> {
    let characters = characters(memory, layout, address)?;
    let kept = characters.length.min(MAX_CHARACTERS) as usize;
    let mut bytes = vec![0u8; kept * characters.width_bytes];
    memory.read_bytes(characters.address, &mut bytes)?;
    if characters.width_bytes == 1 && bytes.is_ascii() && characters.length <= MAX_CHARACTERS {
        // Nearly every name: nothing to decode.
        return String::from_utf8(bytes).map_err(|_| ReadError::NotText);
    }
    let mut text: String = bytes
        .chunks_exact(characters.width_bytes)
        .map(|unit| {
            let code_point = unit.iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
            char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER)
        })
        .collect();
    if characters.length > MAX_CHARACTERS {
        text.push('…');
    }
    Ok(text)
}

fn characters<M: Memory>(memory: &M, layout: &Layout, address: u64) -> Result<Characters, ReadError> {
    let text = &layout.text;
    let at = |offset: u32| address.wrapping_add(u64::from(offset));
    let state = memory.read_u32(at(text.state))? >> text.kind_shift;
    let (kind, is_compact, is_ascii) = (state & 7, state >> 3 & 1 == 1, state >> 4 & 1 == 1);
    if kind == 0 {
        // `PyUnicode_WCHAR_KIND`: only the `wchar_t` form is there, which has 4 bytes on the systems we support.
        let wide = text.wide.ok_or(ReadError::NotText)?;
        return Ok(Characters {
            address: memory.read_u64(at(wide.pointer))?,
            width_bytes: 4,
            length: memory.read_u64(at(wide.length))?,
        });
    }
    let width_bytes = match kind {
        1 | 2 | 4 => kind as usize,
        _ => return Err(ReadError::NotText),
    };
    let address = match (is_compact, is_ascii) {
        (true, true) => at(text.ascii_size),
        (true, false) => at(text.compact_size),
        (false, _) => memory.read_u64(at(text.compact_size))?,
    };
    let length = memory.read_u64(at(text.length))?;
    if length > i64::MAX as u64 {
        return Err(ReadError::NotText);
    }
    Ok(Characters { address, width_bytes, length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::memory::fake::FakeMemory;

    fn layout(minor: u32) -> Layout {
        let identity = Identity {
            hexversion: 0x0300_01f0 | minor << 16,
            free_threaded: false,
            debug: false,
            trace_refs: false,
            is_cpython: true,
        };
        Layout::detect(&identity, &FakeMemory::default(), 0).expect("a known version")
    }

    const AT: u64 = 0x1000;

    /// The header of a string of 3.12.
    fn header(length: u64, kind: u32, compact: bool, ascii: bool) -> FakeMemory {
        let mut memory = FakeMemory::default();
        memory.put_u64(AT + 16, length);
        memory.put_u32(AT + 32, kind << 2 | u32::from(compact) << 5 | u32::from(ascii) << 6);
        memory
    }

    fn read(memory: &FakeMemory) -> Result<String, ReadError> {
        read_text(memory, &layout(12), AT)
    }

    #[test]
    fn every_kind() {
        let mut ascii = header(3, 1, true, true);
        ascii.put_bytes(AT + 40, b"abc");
        assert_eq!(read(&ascii).as_deref(), Ok("abc"));
        let mut latin = header(2, 1, true, false);
        latin.put_bytes(AT + 56, &[0xe9, 0x62]);
        assert_eq!(read(&latin).as_deref(), Ok("éb"));
        let mut two = header(2, 2, true, false);
        two.put_bytes(AT + 56, &[0x16, 0x04, 0x00, 0xd8]);
        assert_eq!(read(&two).as_deref(), Ok("Ж\u{fffd}"));
        let mut four = header(1, 4, true, false);
        four.put_bytes(AT + 56, &[0x00, 0xf6, 0x01, 0x00]);
        assert_eq!(read(&four).as_deref(), Ok("😀"));
        let mut apart = header(2, 1, false, false);
        apart.put_u64(AT + 56, 0x9000);
        apart.put_bytes(0x9000, b"ok");
        assert_eq!(read(&apart).as_deref(), Ok("ok"));
    }

    #[test]
    fn a_string_that_was_never_made_ready() {
        let mut memory = FakeMemory::default();
        memory.put_u64(AT + 32, 0);
        memory.put_u64(AT + 40, 0x9000);
        memory.put_u64(AT + 64, 2);
        memory.put_bytes(0x9000, &[b'h', 0, 0, 0, b'i', 0, 0, 0]);
        assert_eq!(read_text(&memory, &layout(11), AT).as_deref(), Ok("hi"));
        assert_eq!(read_text(&memory, &layout(12), AT), Err(ReadError::NotText));
    }

    #[test]
    fn long_ones_are_cut() {
        let mut memory = header(MAX_CHARACTERS + 5, 1, true, true);
        memory.put_bytes(AT + 40, &[b'x'; MAX_CHARACTERS as usize]);
        let text = read(&memory).expect("text");
        assert_eq!(text.chars().count() as u64, MAX_CHARACTERS + 1);
        assert!(text.ends_with("x…"));
    }

    #[test]
    fn what_is_no_string() {
        assert_eq!(read(&header(3, 3, true, false)), Err(ReadError::NotText));
        assert_eq!(read(&header(u64::MAX, 1, true, true)), Err(ReadError::NotText));
        assert_eq!(read(&FakeMemory::default()), Err(ReadError::Fault));
    }
}

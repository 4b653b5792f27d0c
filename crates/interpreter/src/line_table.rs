//! From instructions to lines: the three encodings of CPython 3.9 to 3.15, decoded once to ranges.
//!
//! Tables are read as hostile: any bytes decode to something, in one pass over them.

use alloc::vec::Vec;

use crate::layout::LineTableKind;

/// Marks a range without a line.
const NO_LINE: i32 = -1;

/// The lines of a code object, by instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTable {
    /// The line before the first instruction.
    first_line: i32,
    /// Start of a range in bytes, and its line; in order, neighbours differ. The last one begins where the code ends.
    ranges: Vec<(u32, i32)>,
}

impl LineTable {
    /// Decodes a table for `code_len_bytes` of bytecode that begins at `first_line`.
    pub fn decode(kind: LineTableKind, table: &[u8], first_line: i32, code_len_bytes: u32) -> Self {
        // Most entries have two bytes or more, and of those of one line all but the first vanish.
        let mut builder = Builder { ranges: Vec::with_capacity(table.len() / 4 + 2), code_len_bytes };
        match kind {
            LineTableKind::Lnotab => decode_lnotab(table, first_line, &mut builder),
            LineTableKind::Ranges => decode_ranges(table, first_line, &mut builder),
            LineTableKind::Locations => decode_locations(table, first_line, &mut builder),
        }
        builder.end();
        builder.ranges.shrink_to_fit();
        Self { first_line, ranges: builder.ranges }
    }

    /// The line that a traceback shows for a frame at that instruction; `None` where the instruction has none, or lies
    /// behind the code. Before the first instruction it is the line of the `def` (`PyCode_Addr2Line`,
    /// `Objects/codeobject.c`).
    pub fn line(&self, instruction_offset_bytes: i32) -> Option<u32> {
        let Ok(offset) = u32::try_from(instruction_offset_bytes) else { return u32::try_from(self.first_line).ok() };
        let next = self.ranges.partition_point(|(start, _)| *start <= offset);
        let (_, line) = self.ranges.get(next.checked_sub(1)?)?;
        u32::try_from(*line).ok()
    }

    /// Heap held.
    pub fn memory_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<(u32, i32)>()
    }
}

struct Builder {
    ranges: Vec<(u32, i32)>,
    code_len_bytes: u32,
}

impl Builder {
    /// From `start` on it is `line`. Ranges that are empty or behind the code vanish.
    fn begin(&mut self, start: u64, line: i32) {
        let Ok(start) = u32::try_from(start) else { return };
        if start >= self.code_len_bytes {
            return;
        }
        while self.ranges.last().is_some_and(|(last, _)| *last >= start) {
            self.ranges.pop();
        }
        if self.ranges.last().is_none_or(|(_, last)| *last != line) {
            self.ranges.push((start, line));
        }
    }

    /// Behind the code there is no line.
    fn end(&mut self) {
        if self.ranges.last().is_none_or(|(_, last)| *last != NO_LINE) {
            self.ranges.push((self.code_len_bytes, NO_LINE));
        }
    }
}

/// CPython 3.9, `Objects/codeobject.c`, `PyCode_Addr2Line`: pairs of an unsigned address delta and a signed line delta.
fn decode_lnotab(table: &[u8], first_line: i32, builder: &mut Builder) {
    let (mut address, mut line) = (0u64, first_line);
    builder.begin(0, line);
    for pair in table.chunks_exact(2) {
        address += u64::from(pair[0]);
        line = line.wrapping_add(i32::from(pair[1] as i8));
        builder.begin(address, line);
    }
}

/// CPython 3.10, `Objects/codeobject.c`, `advance`: pairs of a range's length and a signed line delta, -128 for no line.
fn decode_ranges(table: &[u8], first_line: i32, builder: &mut Builder) {
    let (mut address, mut line) = (0u64, first_line);
    for pair in table.chunks_exact(2) {
        let delta = pair[1] as i8;
        if delta == i8::MIN {
            builder.begin(address, NO_LINE);
        } else {
            line = line.wrapping_add(i32::from(delta));
            builder.begin(address, line);
        }
        address += u64::from(pair[0]);
    }
    builder.begin(address, NO_LINE);
}

/// CPython 3.11 to 3.15, `Objects/locations.md` and `InternalDocs/code_objects.md`: entries that begin with a byte with bit 7
/// set, of which bits 3 to 6 say the form and bits 0 to 2 the length in code units less one.
fn decode_locations(table: &[u8], first_line: i32, builder: &mut Builder) {
    let (mut address, mut line) = (0u64, first_line);
    let mut bytes = table.iter().copied();
    while let Some(first) = bytes.next() {
        let length_bytes = u64::from(first & 7) * 2 + 2;
        let mut has_line = true;
        match first >> 3 & 15 {
            15 => has_line = false,
            14 => {
                line = line.wrapping_add(signed_varint(&mut bytes));
                // End line, column, end column.
                for _ in 0..3 {
                    varint(&mut bytes);
                }
            }
            13 => line = line.wrapping_add(signed_varint(&mut bytes)),
            form @ 10..=12 => {
                line = line.wrapping_add(i32::from(form) - 10);
                bytes.next();
                bytes.next();
            }
            _ => {
                bytes.next();
            }
        }
        builder.begin(address, if has_line { line } else { NO_LINE });
        address += length_bytes;
    }
    builder.begin(address, NO_LINE);
}

/// Six bits a byte, the low ones first; bit 6 says that more follow.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> u32 {
    let (mut value, mut shift) = (0u32, 0u32);
    for byte in bytes {
        if shift < u32::BITS {
            value |= u32::from(byte & 63) << shift;
        }
        shift = shift.saturating_add(6);
        if byte & 64 == 0 {
            break;
        }
    }
    value
}

/// The lowest bit is the sign.
fn signed_varint(bytes: &mut impl Iterator<Item = u8>) -> i32 {
    let value = varint(bytes);
    let magnitude = (value >> 1) as i32;
    if value & 1 == 1 { magnitude.wrapping_neg() } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn lines(kind: LineTableKind, table: &[u8], first_line: i32, units: u32) -> Vec<Option<u32>> {
        let table = LineTable::decode(kind, table, first_line, units * 2);
        (0..units as i32).map(|unit| table.line(unit * 2)).collect()
    }

    #[test]
    fn lnotab_of_3_9() {
        // Six bytes of line 10, four of line 11, a jump back to line 9, then 300 lines on in two steps.
        let table = [6, 1, 4, 0xfe, 2, 127, 0, 127, 0, 46];
        let expected = vec![Some(10), Some(10), Some(10), Some(11), Some(11), Some(9), Some(309), Some(309)];
        assert_eq!(lines(LineTableKind::Lnotab, &table, 10, 8), expected);
    }

    #[test]
    fn ranges_of_3_10() {
        // Line 11 for two units, none for one, line 12 for one; nothing is known behind the table.
        let table = [4, 1, 2, 0x80, 2, 1];
        assert_eq!(lines(LineTableKind::Ranges, &table, 10, 5), vec![Some(11), Some(11), None, Some(12), None]);
    }

    #[test]
    #[expect(clippy::unusual_byte_groupings, reason = "grouped as the fields of the format are")]
    fn locations_of_3_11() {
        let table = [
            0b1_0000_001,
            0, // short form, two units, same line
            0b1_1011_000,
            3,
            4,            // one-line form, one unit, line + 1
            0b1_1111_000, // no location
            0b1_1101_000,
            0b0_000_0011, // no columns, line - 1
            0b1_1110_000,
            0b0100_1000,
            0b0000_0011,
            0,
            1,
            1, // long form, line + (3 * 64 + 8) / 2
        ];
        assert_eq!(
            lines(LineTableKind::Locations, &table, 20, 7),
            vec![Some(20), Some(20), Some(21), None, Some(20), Some(120), None]
        );
    }

    #[test]
    fn neighbours_with_one_line_are_one_range() {
        let table = LineTable::decode(LineTableKind::Locations, &[0b1000_0000, 0, 0b1000_0000, 0], 5, 4);
        assert_eq!(table.ranges, [(0, 5), (4, NO_LINE)]);
    }

    #[test]
    #[expect(clippy::unusual_byte_groupings, reason = "grouped by the fields of an entry")]
    fn around_the_code() {
        for (kind, table) in [
            (LineTableKind::Lnotab, [0, 1].as_slice()),
            (LineTableKind::Ranges, [4, 1].as_slice()),
            (LineTableKind::Locations, [0b1_1011_001, 0, 0].as_slice()),
        ] {
            let table = LineTable::decode(kind, table, 5, 4);
            assert_eq!(
                [-2, -1, 0, 2, 4, i32::MAX].map(|offset| table.line(offset)),
                [Some(5), Some(5), Some(6), Some(6), None, None],
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_line_below_zero_is_none() {
        let table = LineTable::decode(LineTableKind::Lnotab, &[2, 0xf0], 10, 4);
        assert_eq!([0, 2].map(|offset| table.line(offset)), [Some(10), None]);
    }

    proptest! {
        #[test]
        fn any_bytes_decode(
            table in proptest::collection::vec(any::<u8>(), 0..400),
            first_line in any::<i32>(),
            length in 0u32..4_000,
            offset in any::<i32>(),
        ) {
            for kind in [LineTableKind::Lnotab, LineTableKind::Ranges, LineTableKind::Locations] {
                let decoded = LineTable::decode(kind, &table, first_line, length);
                prop_assert!(decoded.ranges.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
                prop_assert!(decoded.ranges.len() <= table.len() + 2);
                decoded.line(offset);
            }
        }
    }
}

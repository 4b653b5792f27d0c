//! The three line tables against a second decoder, which is slow and simple: a line for each byte of the code.
#![no_main]

use interpreter::LineTable;
use interpreter::layout::LineTableKind;
use libfuzzer_sys::fuzz_target;
use spprof_fuzz::input::Input;

/// Lines by byte of the code, as they stand in the table: a negative one is none.
struct Slow {
    lines: Vec<Option<i32>>,
}

impl Slow {
    fn set(&mut self, from: u64, line: Option<i32>) {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.lines.len());
        self.lines[from..].fill(line);
    }
}

fn lnotab(table: &[u8], first_line: i32, slow: &mut Slow) {
    let (mut address, mut line) = (0u64, first_line);
    slow.set(0, Some(line));
    for pair in table.chunks_exact(2) {
        address += u64::from(pair[0]);
        line = line.wrapping_add(i32::from(pair[1] as i8));
        slow.set(address, Some(line));
    }
}

fn ranges(table: &[u8], first_line: i32, slow: &mut Slow) {
    let (mut end, mut line) = (0u64, first_line);
    for pair in table.chunks_exact(2) {
        let start = end;
        end += u64::from(pair[0]);
        let shown = match pair[1] as i8 {
            i8::MIN => None,
            delta => {
                line = line.wrapping_add(i32::from(delta));
                Some(line)
            }
        };
        slow.set(start, shown);
    }
    slow.set(end, None);
}

fn number(table: &[u8], at: &mut usize) -> u32 {
    let (mut value, mut shift) = (0u64, 0);
    while let Some(byte) = table.get(*at) {
        *at += 1;
        if shift < 32 {
            value |= u64::from(byte & 63) << shift;
        }
        shift += 6;
        if byte & 64 == 0 {
            break;
        }
    }
    value as u32
}

fn signed(table: &[u8], at: &mut usize) -> i32 {
    let value = number(table, at);
    let magnitude = (value >> 1) as i32;
    if value & 1 == 0 { magnitude } else { -magnitude }
}

fn locations(table: &[u8], first_line: i32, slow: &mut Slow) {
    let (mut address, mut line, mut at) = (0u64, first_line, 0);
    while at < table.len() {
        let first = table[at];
        at += 1;
        let form = first >> 3 & 15;
        let mut shown = true;
        if form < 10 {
            at += 1;
        } else if form < 13 {
            line = line.wrapping_add(i32::from(form) - 10);
            at += 2;
        } else if form == 15 {
            shown = false;
        } else {
            line = line.wrapping_add(signed(table, &mut at));
            if form == 14 {
                for _ in 0..3 {
                    number(table, &mut at);
                }
            }
        }
        slow.set(address, shown.then_some(line));
        address += 2 * (u64::from(first & 7) + 1);
    }
    slow.set(address, None);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let kind = [LineTableKind::Lnotab, LineTableKind::Ranges, LineTableKind::Locations][usize::from(input.byte()) % 3];
    let first_line = match input.byte() {
        0 => input.int() as i32,
        small => i32::from(small),
    };
    let code_len_bytes = u32::from(input.short() % 1024);
    let table = input.0;
    let decoded = LineTable::decode(kind, table, first_line, code_len_bytes);
    let mut slow = Slow { lines: vec![None; code_len_bytes as usize] };
    match kind {
        LineTableKind::Lnotab => lnotab(table, first_line, &mut slow),
        LineTableKind::Ranges => ranges(table, first_line, &mut slow),
        LineTableKind::Locations => locations(table, first_line, &mut slow),
    }
    for (offset, line) in slow.lines.iter().enumerate() {
        let expected = line.and_then(|line| u32::try_from(line).ok());
        assert_eq!(decoded.line(offset as i32), expected, "{kind:?} at {offset}");
    }
    assert_eq!(decoded.line(-1), u32::try_from(first_line).ok());
    assert_eq!(decoded.line(code_len_bytes as i32), None);
    assert!(decoded.memory_bytes() <= 8 * (table.len() + 2));
});

//! Numbers in as few bytes as they need: LEB128, seven bits a byte, the lowest first.

use crate::error::ReadError;

/// Appends a number.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a difference: small ones of either sign are short.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a text behind its length.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Takes what was put, in the same order.
#[derive(Debug)]
pub(super) struct Taker<'a> {
    rest: &'a [u8],
}

impl<'a> Taker<'a> {
    pub(super) fn new(content: &'a [u8]) -> Taker<'a> {
        Taker { rest: content }
    }

    /// There is nothing left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| ReadError::new("it ends before what it announces"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, ReadError> {
        let mut value = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.bytes(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || bits << shift >> shift != bits {
                return Err(ReadError::new("it holds a number of more than 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    pub(super) fn number_u32(&mut self) -> Result<u32, ReadError> {
        let value = self.number()?;
        u32::try_from(value).map_err(|_| ReadError::new(format!("{value} is too large for what it means")))
    }

    pub(super) fn signed(&mut self) -> Result<i64, ReadError> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, ReadError> {
        let length = self.number()?;
        let bytes = self.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        std::str::from_utf8(bytes).map_err(|_| ReadError::new("it holds a text that is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(numbers in prop::collection::vec((any::<u64>(), 0..64u32), 0..20), text in ".{0,9}") {
            let mut bytes = Vec::new();
            for &(number, shift) in &numbers {
                put(&mut bytes, number >> shift);
                put_signed(&mut bytes, (number as i64) >> shift);
            }
            put_text(&mut bytes, &text);
            let mut taker = Taker::new(&bytes);
            for &(number, shift) in &numbers {
                prop_assert_eq!(taker.number(), Ok(number >> shift));
                prop_assert_eq!(taker.signed(), Ok((number as i64) >> shift));
            }
            prop_assert_eq!(taker.text(), Ok(text.as_str()));
            prop_assert!(taker.is_empty());
        }

        #[test]
        fn any_bytes_are_a_number_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut taker = Taker::new(&bytes);
            while taker.number().is_ok() {}
        }
    }

    #[test]
    fn what_has_no_room_in_64_bits_is_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(0x01);
        assert_eq!(Taker::new(&bytes).number(), Ok(u64::MAX));
        *bytes.last_mut().expect("there are ten") = 0x02;
        assert!(Taker::new(&bytes).number().is_err());
        assert!(Taker::new(&[0x80; 11]).number().is_err());
    }
}

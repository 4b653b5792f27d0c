//! Base64, as it is written: `+` and `/`, padded, no line ends.

use std::io;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes base64 of what is written to it. [`Self::finish`] has to be called.
pub(crate) struct Base64Writer<W: io::Write> {
    out: W,
    /// The bytes that do not make a group of three yet.
    rest: Vec<u8>,
}

impl<W: io::Write> Base64Writer<W> {
    pub(crate) fn new(out: W) -> Base64Writer<W> {
        Base64Writer { out, rest: Vec::with_capacity(3) }
    }

    /// Writes what is left, padded.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if !self.rest.is_empty() {
            let mut group = [0; 3];
            group[..self.rest.len()].copy_from_slice(&self.rest);
            let mut text = encode(group);
            text[self.rest.len() + 1..].fill(b'=');
            self.out.write_all(&text)?;
        }
        Ok(())
    }
}

fn encode([a, b, c]: [u8; 3]) -> [u8; 4] {
    let bits = u32::from_be_bytes([0, a, b, c]);
    [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])
}

impl<W: io::Write> io::Write for Base64Writer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut text = Vec::with_capacity((self.rest.len() + buffer.len()).div_ceil(3) * 4);
        let head = (3 - self.rest.len()) % 3;
        let (head, body) = buffer.split_at(head.min(buffer.len()));
        self.rest.extend_from_slice(head);
        if let Ok(group) = <[u8; 3]>::try_from(self.rest.as_slice()) {
            text.extend(encode(group));
            self.rest.clear();
        }
        let groups = body.chunks_exact(3);
        self.rest.extend_from_slice(groups.remainder());
        for group in groups {
            text.extend(encode([group[0], group[1], group[2]]));
        }
        self.out.write_all(&text)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::Write as _;

    #[test]
    fn the_vectors_of_rfc_4648_however_they_are_cut() {
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in vectors.iter().enumerate() {
            for cut in 1..=6 {
                let mut text = Vec::new();
                let mut writer = Base64Writer::new(&mut text);
                for piece in b"foobar"[..length].chunks(cut) {
                    writer.write_all(piece).expect("a vector takes everything");
                }
                writer.finish().expect("a vector takes everything");
                assert_eq!(String::from_utf8(text).as_deref(), Ok(*expected), "{length} bytes by {cut}");
            }
        }
        assert_eq!(encode([0xfb, 0xff, 0xbf]), *b"+/+/");
    }
}

//! The container: a magic number, a version, and chunks that each say how long they are and carry a checksum.
//!
//! A chunk is four letters, the length of its packed content, that of its plain content, a CRC-32 of these twelve bytes and
//! the packed content, and the packed content (raw deflate). Numbers are 32 bits, little endian.
//!
//! A reader passes over a kind of chunk that it does not know if its first letter is small, and refuses the file if it is a
//! capital: so later versions can add what older readers may miss without changing the version.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::VERSION;
use crate::error::ReadError;

/// No text begins like this, and a transfer that changes line ends or cuts the eighth bit breaks it.
pub(crate) const MAGIC: [u8; 8] = *b"\x89spprof\n";

/// What a chunk holds.
pub(super) type Kind = [u8; 4];

/// Kind, two lengths and the checksum.
const CHUNK_HEADER_BYTES: usize = 16;

/// No chunk is larger when unpacked: a longer name has no place in this format.
pub(super) const MAX_CHUNK_BYTES: usize = 64 << 20;

/// Writes the beginning of a file.
pub(super) fn begin(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())
}

/// Writes a chunk.
pub(super) fn write(out: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    if content.len() > MAX_CHUNK_BYTES {
        let problem = "a name of more than 64 MB has no place in an .spprof file: choose another format";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(content.len() / 2), Compression::default());
    encoder.write_all(content)?;
    let packed = encoder.finish()?;
    let mut header = Vec::with_capacity(CHUNK_HEADER_BYTES);
    header.extend_from_slice(&kind);
    // Deflate adds 5 bytes to 16,000 at most to what it cannot make shorter, so this has room in 32 bits too.
    for length in [packed.len(), content.len()] {
        header.extend_from_slice(&(length as u32).to_le_bytes());
    }
    header.extend_from_slice(&checksum(&header, &packed).to_le_bytes());
    out.write_all(&header)?;
    out.write_all(&packed)
}

fn checksum(header: &[u8], packed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    hasher.update(packed);
    hasher.finalize()
}

/// The chunks of a file, one after the other, each unpacked when it is asked for.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    content: &'a [u8],
    at: usize,
    unpacked: Vec<u8>,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A whole chunk, its place in the file and its plain content.
    Chunk(Kind, usize, &'a [u8]),
    /// The file ends here, between two chunks.
    End,
    /// The file ends within a chunk that begins here.
    Cut(usize),
    /// The chunk that begins here is not as it was written.
    Damaged(usize),
}

impl<'a> Chunks<'a> {
    /// Looks at the beginning of a file.
    pub(super) fn new(content: &'a [u8]) -> Result<Chunks<'a>, ReadError> {
        let after = content.strip_prefix(&MAGIC);
        let Some((version, _)) = after.and_then(|rest| rest.split_first_chunk::<4>()) else {
            return Err(ReadError::new("not an .spprof file: it does not begin as one, or ends before its first part"));
        };
        match u32::from_le_bytes(*version) {
            1..=VERSION => Ok(Chunks { content, at: MAGIC.len() + 4, unpacked: Vec::new() }),
            newer => Err(ReadError::new(format!(
                "the file is of version {newer} of the .spprof format, and this spprof reads up to {VERSION}: take a newer spprof"
            ))),
        }
    }

    /// How much of the file is left.
    pub(super) fn bytes_left(&self) -> usize {
        self.content.len() - self.at
    }

    /// The next chunk. After anything else than a chunk the same is returned again.
    pub(super) fn next(&mut self) -> Next<'_> {
        let at = self.at;
        let rest = &self.content[at..];
        if rest.is_empty() {
            return Next::End;
        }
        let Some((header, rest)) = rest.split_first_chunk::<CHUNK_HEADER_BYTES>() else { return Next::Cut(at) };
        let word =
            |from: usize| u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
        let (packed_length, length) = (word(4) as usize, word(8) as usize);
        let Some(packed) = rest.get(..packed_length) else { return Next::Cut(at) };
        if checksum(header, packed) != word(12) || length > MAX_CHUNK_BYTES {
            return Next::Damaged(at);
        }
        self.unpacked.clear();
        // One byte more than announced, to see whether it is longer.
        let read = DeflateDecoder::new(packed).take(length as u64 + 1).read_to_end(&mut self.unpacked);
        if read.is_err() || self.unpacked.len() != length {
            return Next::Damaged(at);
        }
        self.at += CHUNK_HEADER_BYTES + packed_length;
        Next::Chunk([header[0], header[1], header[2], header[3]], at, &self.unpacked)
    }
}

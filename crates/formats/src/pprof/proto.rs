//! The messages of `profile.proto`, as far as we write or read them, and the top level one field at a time: neither
//! side holds a whole profile.

use std::io::{self, BufRead, Read, Write};

use flate2::bufread::MultiGzDecoder;
use prost::Message;

use crate::error::ReadError;

/// Numbers of the fields of `Profile`.
pub(super) mod field {
    pub(crate) const SAMPLE_TYPE: u32 = 1;
    pub(crate) const SAMPLE: u32 = 2;
    pub(crate) const MAPPING: u32 = 3;
    pub(crate) const LOCATION: u32 = 4;
    pub(crate) const FUNCTION: u32 = 5;
    pub(crate) const STRING_TABLE: u32 = 6;
    pub(crate) const TIME_NANOS: u32 = 9;
    pub(crate) const DURATION_NANOS: u32 = 10;
    pub(crate) const PERIOD_TYPE: u32 = 11;
    pub(crate) const PERIOD: u32 = 12;
    pub(crate) const COMMENT: u32 = 13;
    pub(crate) const DEFAULT_SAMPLE_TYPE: u32 = 14;
}

/// What a value means: positions in the table of strings.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ValueType {
    #[prost(int64, tag = "1")]
    pub(super) kind: i64,
    #[prost(int64, tag = "2")]
    pub(super) unit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    pub(super) location_ids: Vec<u64>,
    /// One for each sample type.
    #[prost(int64, repeated, tag = "2")]
    pub(super) values: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) labels: Vec<Label>,
}

/// A string or a number.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Label {
    #[prost(int64, tag = "1")]
    pub(super) key: i64,
    #[prost(int64, tag = "2")]
    pub(super) text: i64,
    #[prost(int64, tag = "3")]
    pub(super) number: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Mapping {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(int64, tag = "5")]
    pub(super) filename: i64,
    #[prost(bool, tag = "7")]
    pub(super) has_functions: bool,
    #[prost(bool, tag = "8")]
    pub(super) has_filenames: bool,
    #[prost(bool, tag = "9")]
    pub(super) has_line_numbers: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Location {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub(super) address: u64,
    /// Several where functions were inlined, the innermost first.
    #[prost(message, repeated, tag = "4")]
    pub(super) lines: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Line {
    #[prost(uint64, tag = "1")]
    pub(super) function_id: u64,
    #[prost(int64, tag = "2")]
    pub(super) line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Function {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(int64, tag = "2")]
    pub(super) name: i64,
    #[prost(int64, tag = "3")]
    pub(super) system_name: i64,
    #[prost(int64, tag = "4")]
    pub(super) filename: i64,
    #[prost(int64, tag = "5")]
    pub(super) start_line: i64,
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// Writes a field of `Profile` that is a message.
pub(super) fn write_message(out: &mut impl Write, number: u32, message: &impl Message) -> io::Result<()> {
    write_bytes(out, number, &message.encode_to_vec())
}

/// Writes a field of `Profile` that is a text or is encoded already.
pub(super) fn write_bytes(out: &mut impl Write, number: u32, bytes: &[u8]) -> io::Result<()> {
    write_key(out, number, BYTES)?;
    write_varint(out, bytes.len() as u64)?;
    out.write_all(bytes)
}

/// Writes a field of `Profile` that is a number.
pub(super) fn write_number(out: &mut impl Write, number: u32, value: i64) -> io::Result<()> {
    write_key(out, number, VARINT)?;
    write_varint(out, value as u64)
}

fn write_key(out: &mut impl Write, number: u32, wire_type: u32) -> io::Result<()> {
    write_varint(out, u64::from(number << 3 | wire_type))
}

fn write_varint(out: &mut impl Write, value: u64) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(10);
    prost::encoding::encode_varint(value, &mut bytes);
    out.write_all(&bytes)
}

/// A packed file may unpack to so much.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;

/// A message takes up to sixteen times its bytes when it is decoded; none that is made to be read is as long as this.
pub(super) const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The fields of a profile, one after the other, unpacked on the way.
pub(super) struct Fields<'a> {
    input: Box<dyn BufRead + 'a>,
    bytes: Vec<u8>,
    unpacked_bytes: u64,
    is_packed: bool,
}

/// The value of a field.
pub(super) enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
    /// Of a kind that no field of `Profile` has.
    Other,
}

impl<'a> Fields<'a> {
    /// Those of a file, which may be packed with gzip.
    pub(super) fn new(content: &'a [u8]) -> Fields<'a> {
        let is_packed = content.starts_with(&crate::GZIP_MAGIC);
        let input: Box<dyn BufRead + 'a> =
            if is_packed { Box::new(io::BufReader::new(MultiGzDecoder::new(content))) } else { Box::new(content) };
        Fields { input, bytes: Vec::new(), unpacked_bytes: 0, is_packed }
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'_>)>, ReadError> {
        if self.input.fill_buf().map_err(|error| unpacking(&error))?.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| ReadError::new("it has a field of an impossible number"))?;
        match (key & 7) as u32 {
            VARINT => {
                let value = self.varint()?;
                return Ok(Some((number, Value::Number(value as i64))));
            }
            FIXED64 => self.read(8)?,
            FIXED32 => self.read(4)?,
            BYTES => {
                let length = self.varint()?;
                self.read(length)?;
                return Ok(Some((number, Value::Bytes(&self.bytes))));
            }
            other => return Err(ReadError::new(format!("it has a field of wire type {other}, which there is none"))),
        }
        Ok(Some((number, Value::Other)))
    }

    fn read(&mut self, length: u64) -> Result<(), ReadError> {
        self.count(length)?;
        self.bytes.clear();
        let got = self.input.by_ref().take(length).read_to_end(&mut self.bytes).map_err(|error| unpacking(&error))?;
        if got as u64 == length { Ok(()) } else { Err(cut_short()) }
    }

    fn varint(&mut self) -> Result<u64, ReadError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let mut byte = [0];
            self.input.read_exact(&mut byte).map_err(|error| unpacking(&error))?;
            self.count(1)?;
            value |= u64::from(byte[0] & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(ReadError::new("it has a number of more than 64 bits"))
    }

    fn count(&mut self, bytes: u64) -> Result<(), ReadError> {
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(bytes);
        if self.is_packed && self.unpacked_bytes > MAX_UNPACKED_BYTES {
            return Err(ReadError::new(
                "it unpacks to more than 256 MB: unpack it first (gunzip) if it is to be trusted",
            ));
        }
        Ok(())
    }
}

fn cut_short() -> ReadError {
    ReadError::new("the file is cut short")
}

fn unpacking(error: &io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_short(),
        _ => ReadError::new(format!("it cannot be unpacked: {error}")),
    }
}

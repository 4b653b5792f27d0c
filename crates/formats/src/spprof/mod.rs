//! Our own file format, which keeps everything that a profile holds: every sample with its state, both times and the order
//! of time; gaps; threads, living, ended and folded; functions, lines and the honest numbers.
//!
//! A file is a magic number, a version and *chunks*, each of which carries its length and checksum (`chunk.rs`). Names,
//! functions and call tree nodes are written when the first samples need them, and samples in the order of time across the
//! threads: whoever reads a file that was cut short has a profile of everything up to there.
//!
//! Numbers are LEB128 (`varint.rs`), texts UTF-8 behind their length in bytes.
//!
//! | chunk | content |
//! |---|---|
//! | `HEAD` | the honest numbers as JSON, without threads and arguments; first |
//! | `ARGV` | arguments of the program |
//! | `THRD` | threads: name, native id, Python id, start, end + 1 (0: alive), folded threads, flags (1: main) |
//! | `TEXT` | strings; the empty one is number 0 and not written |
//! | `FUNC` | functions from 1 on: name, file, first line, flags (1: native) |
//! | `NODE` | nodes of the call tree from 1 on: how far before it its parent is, function, line |
//! | `SAMP` | samples of one thread, in columns |
//! | `DONE` | number of samples in the file; last |
//!
//! `SAMP` is: thread; number of entries; flags (1: there is a column of counts); the columns leaf (the difference to the one
//! before, zigzag; the first to 0), state (a byte each), wall, CPU, counts; number of gaps; for each gap the number of entries
//! since the last one, and its length. A gap stands before the entry at its place.

mod chunk;
mod read;
mod varint;
mod write;

pub(crate) use chunk::MAGIC;
pub(crate) use read::read;
pub(crate) use write::write;

/// The version that we write, and the newest that we read.
const VERSION: u32 = 1;

const HEAD: chunk::Kind = *b"HEAD";
const ARGV: chunk::Kind = *b"ARGV";
const THRD: chunk::Kind = *b"THRD";
const TEXT: chunk::Kind = *b"TEXT";
const FUNC: chunk::Kind = *b"FUNC";
const NODE: chunk::Kind = *b"NODE";
const SAMP: chunk::Kind = *b"SAMP";
const DONE: chunk::Kind = *b"DONE";

/// Flags of a thread, a function, a chunk of samples.
const IS_MAIN: u64 = 1;
const IS_NATIVE: u64 = 1;
const HAS_COUNTS: u64 = 1;

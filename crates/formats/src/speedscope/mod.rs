//! The JSON format of the speedscope viewer (version 1.25 of its file format; all versions since 1.0 read it).
//!
//! A file holds a list of frames and, for each clock, "All threads" first, then the main thread, then the others, those with
//! most weight first. "All threads" has one entry for each distinct stack, in the order of the call tree: the order of time
//! means nothing across threads that run side by side. A thread's profile is in the order of time, neighbouring samples with
//! the same stack being one entry; where it had no Python frame, or nobody looked, the stack is empty, so that the axis shows
//! true time.
//!
//! The honest numbers stand in a top-level object `spprof`, which the viewer ignores.

mod parse;
mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

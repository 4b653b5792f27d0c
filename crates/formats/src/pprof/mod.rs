//! pprof's `profile.proto`, packed with gzip: what `go tool pprof`, Pyroscope, Grafana, Parca and others take.
//!
//! A sample of the file is what one thread spent with one stack in one state. It has several values side by side: the number of
//! samples, and the nanoseconds on each clock. Its labels are `thread`, `thread_id` (the system's number) and `state`; where
//! two threads have the same name and number, `thread_number` too. A location is a line of a function. Machine code
//! is in a mapping of its own. There is no order of time.
//!
//! The honest numbers stand in a comment, behind `#spprof:`, and once more in words for people.

mod proto;
mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

/// Begins the comment with the honest numbers, as in collapsed stacks.
const HEADER: &str = "#spprof:";

const THREAD: &str = "thread";
const THREAD_ID: &str = "thread_id";
const THREAD_NUMBER: &str = "thread_number";
const STATE: &str = "state";

/// The mappings of a file of ours: Python, and machine code.
const PYTHON_MAPPING: u64 = 1;
const NATIVE_MAPPING: u64 = 2;

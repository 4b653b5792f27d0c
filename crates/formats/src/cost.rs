//! How much memory a packed file may take.
//!
//! A few kilobytes can unpack to gigabytes. Whoever reads a packed file counts what it builds from it, at what each thing
//! takes at most (the tables double, and hold their old half meanwhile), and gives up beyond a limit.

use profile::room;

use crate::error::ReadError;

/// What every packed file may take. With what the counting leaves out, the whole stays below 256 MB.
const LIMIT_BYTES: usize = 200 << 20;

/// A file may take more than that in proportion to its own length: an honest one of millions of samples does.
const LIMIT_TIMES_FILE: usize = 16;

/// Upper bounds on what one of them takes in memory, its share of spare room included.
pub(crate) const NODE_BYTES: usize = 40;
pub(crate) const SAMPLE_BYTES: usize = 28;
/// A gap, or a number of a sample that has no room in 32 bits.
pub(crate) const RARE_BYTES: usize = 40;
pub(crate) const FUNCTION_BYTES: usize = 80;
pub(crate) const TEXT_BYTES: usize = 224;
pub(crate) const THREAD_BYTES: usize = 1024;

/// What was built so far.
#[derive(Debug)]
pub(crate) struct Cost {
    bytes: usize,
    limit_bytes: usize,
    /// Where it is asked next whether there is memory to go on.
    next_question_bytes: usize,
}

/// So much is built between two questions, or a sixteenth of all if that is more.
const QUESTION_BYTES: usize = 64 << 10;

impl Cost {
    /// Nothing yet, of a file of that length.
    pub(crate) fn of_file(file_bytes: usize) -> Cost {
        Cost {
            bytes: 0,
            limit_bytes: LIMIT_BYTES.max(file_bytes.saturating_mul(LIMIT_TIMES_FILE)),
            next_question_bytes: 0,
        }
    }

    /// Counts before something is built; an error if there is no room for it.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), ReadError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limit_bytes {
            let megabytes = self.limit_bytes >> 20;
            return Err(ReadError::new(format!(
                "it is packed so tightly that reading it would take more than {megabytes} MB of memory, which no profile of its length needs"
            )));
        }
        if self.bytes >= self.next_question_bytes {
            // The largest of the tables may have to double.
            if !room::is_there(self.bytes) {
                return Err(ReadError::no_memory());
            }
            self.next_question_bytes = self.bytes + QUESTION_BYTES.max(self.bytes / 16);
        }
        Ok(())
    }
}

//! The recorded profile as plain data: a call tree, the threads, and what each thread was seen doing, sample by sample.
//!
//! The collector writes into a [`Recording`], which keeps to a memory limit; [`Recording::finish`] turns it into a
//! [`Profile`], which everything that shows or saves a profile reads. Nothing here knows of Python or of signals.
//!
//! # Vocabulary
//!
//! - A **sample** says where one thread was at one time: the *leaf* of its stack in the [`CallTree`], how much wall time
//!   went by since that thread's previous sample and how much CPU time was used around it (its *weights*), and the thread's
//!   [`State`].
//! - A stack is named by its **leaf** node; the frames are the way from the root to it. A sample whose leaf is
//!   [`NodeId::ROOT`] has an *empty stack*: the thread had no Python frame at that time. Its weights count for the thread;
//!   they belong to no function and are reported as time *without Python*.
//! - A **clock** ([`Clock`]) is the view of one recording that is being looked at: CPU time or wall time.
//!
//! # What stays exact
//!
//! When memory runs short detail is lost, never weight: the sums of wall time, CPU time and samples of the whole recording
//! do not change, whatever was coarsened, collapsed or folded, and [`Counters`] says how much was.
#![forbid(unsafe_code)]

mod analysis;
mod breakdown;
mod budget;
mod by_function;
mod chronology;
mod coarsen;
mod column;
mod difference;
mod ending;
mod filter;
mod folded;
mod function;
mod info;
mod lines;
mod merge;
mod need;
mod origin;
mod precision;
mod recording;
pub mod room;
mod scale;
mod state;
mod statistics;
mod strings;
mod thread;
mod timeline;
mod tree;
mod two_trees;

pub use analysis::{Clock, FunctionTotal, StackTotal, Weights};
pub use breakdown::{Activity, ActivityTotal, Whereabouts};
pub use chronology::Chronology;
pub use difference::{Difference, DifferenceOptions, FunctionDifference};
pub use ending::Ending;
pub use filter::{Filter, FunctionSet};
pub use folded::{FoldOptions, FoldedCall};
pub use function::{Function, FunctionId, FunctionTable};
pub use info::{Counters, Moment, Profile, RecordingInfo};
pub use lines::LineTotal;
pub use need::Size;
pub use origin::Origin;
pub use precision::ShareErrors;
pub use recording::{NewThread, Observation, Recording, ThreadId};
pub use state::{Gil, Running, State};
pub use strings::{StringId, StringTable};
pub use thread::{ENDED_THREADS_NAME, Thread, ThreadIndex};
pub use timeline::{Sample, Samples, Timeline};
pub use tree::{CallTree, Frames, NodeId};
pub use two_trees::{BothTrees, CallInBoth};

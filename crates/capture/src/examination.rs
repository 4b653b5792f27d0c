//! What this system allows, found out by asking for it: the facts behind `spprof doctor`.

use crate::{findings, platform};

/// The outcome.
#[derive(Debug, Default)]
pub struct Examination {
    /// Topic and finding, one sentence each.
    pub findings: Vec<(&'static str, String)>,
    /// What stands in the way of profiling.
    pub problems: Vec<String>,
}

/// Asks the system for what a session needs, and gives it back at once.
pub fn examine_system() -> Examination {
    let mut outcome = Examination::default();
    findings::add_to(&mut outcome);
    outcome
}

/// Name, release and machine of the system: as `uname(2)` has them, or `Windows-10.0.19045-AMD64`.
pub fn system_name() -> String {
    platform::system_name()
}

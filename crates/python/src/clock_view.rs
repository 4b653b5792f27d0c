//! The class `View`: a profile on one clock.

use std::path::PathBuf;

use profile::Clock;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::profile_class::Profile;
use crate::views;

/// A clock by its name in the API.
pub(crate) fn clock(name: &str) -> PyResult<Clock> {
    Clock::ALL
        .into_iter()
        .find(|clock| clock.label().eq_ignore_ascii_case(name))
        .ok_or_else(|| PyValueError::new_err(format!("clock must be \"cpu\", \"wall\" or \"gil\", not {name:?}")))
}

/// Its name in the API.
fn name(clock: Clock) -> &'static str {
    match clock {
        Clock::Cpu => "cpu",
        Clock::Wall => "wall",
        Clock::Gil => "gil",
    }
}

/// A profile looked at by one of its clocks: CPU time, wall time, or wall time during which a thread held the GIL.
#[pyclass(frozen, module = "spprof")]
pub(crate) struct View {
    pub(crate) profile: Py<Profile>,
    pub(crate) clock: Clock,
}

#[pymethods]
impl View {
    /// The clock: "cpu", "wall" or "gil".
    #[getter]
    fn clock(&self) -> &'static str {
        name(self.clock)
    }

    /// What all samples add up to on it, ns.
    #[getter]
    fn total_ns(&self) -> u64 {
        views::time_ns(self.profile.get().inner(), self.clock)
    }

    /// The functions that most time went to, `limit` of them (all for None), by their own or their total time.
    #[pyo3(signature = (limit = Some(10), *, sort = "self"), text_signature = "($self, limit=10, *, sort='self')")]
    fn top<'py>(&self, py: Python<'py>, limit: Option<usize>, sort: &str) -> PyResult<Bound<'py, PyList>> {
        self.profile.get().top(py, limit, name(self.clock), sort)
    }

    /// Every distinct stack that time went to, with what its samples add up to over all threads, most time first.
    fn aggregate<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.profile.get().aggregate(py, Some(name(self.clock)))
    }

    /// The view as speedscope's JSON document; see `Profile.to_speedscope`.
    #[pyo3(signature = (*, lines = false))]
    fn to_speedscope<'py>(&self, py: Python<'py>, lines: bool) -> PyResult<Bound<'py, PyAny>> {
        self.profile.get().to_speedscope(py, Some(name(self.clock)), lines)
    }

    /// The view as collapsed stacks; see `Profile.to_collapsed`.
    #[pyo3(signature = (*, lines = false, threads = false))]
    fn to_collapsed<'py>(&self, py: Python<'py>, lines: bool, threads: bool) -> PyResult<Bound<'py, PyString>> {
        self.profile.get().to_collapsed(py, Some(name(self.clock)), lines, threads)
    }

    /// Writes the view to a file; see `Profile.save`.
    #[pyo3(signature = (path, format = None, *, lines = false, threads = false))]
    fn save(&self, py: Python<'_>, path: PathBuf, format: Option<&str>, lines: bool, threads: bool) -> PyResult<()> {
        self.profile.get().save(py, path, format, Some(name(self.clock)), lines, threads)
    }

    fn __repr__(&self) -> String {
        format!("<View of {:.3} s on the {} clock>", self.total_ns() as f64 / 1e9, self.clock.label())
    }
}

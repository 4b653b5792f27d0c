//! The class `Profile`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use formats::{Format, WriteOptions};
use profile::{DifferenceOptions, FoldOptions, FunctionTotal, ShareErrors, Weights};
use pyo3::exceptions::{PyMemoryError, PyOSError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::clock_view::{self, View};
use crate::memory::{self, Text, with_room, with_room_or_nothing};
use crate::notebook;
use crate::samples::{Recorded, Samples};
use crate::save;
use crate::values::{FunctionTotals, StackTotals, Thread};
use crate::views::{self, ProfileDifference};

/// What was recorded.
#[pyclass(frozen, module = "spprof")]
pub(crate) struct Profile {
    recorded: Arc<Recorded>,
}

impl Profile {
    pub(crate) fn new(profile: profile::Profile) -> Self {
        Self { recorded: Arc::new(Recorded::new(profile)) }
    }

    pub(crate) fn inner(&self) -> &profile::Profile {
        &self.recorded.profile
    }

    fn duration_ns(&self) -> u64 {
        let profile = self.inner();
        profile.end.monotonic_ns.saturating_sub(profile.info.start.monotonic_ns)
    }

    fn text(&self, py: Python<'_>, format: Format, options: &WriteOptions) -> PyResult<Text> {
        py.detach(|| {
            let mut text = Text::default();
            formats::write(self.inner(), format, options, &mut text).map_err(out_of_memory)?;
            Ok(text)
        })
    }

    fn function_totals(&self, total: &FunctionTotal, errors: ShareErrors) -> FunctionTotals {
        let profile = self.inner();
        let (self_error, total_error) = views::known_errors(profile, errors);
        let function = profile.functions.get(total.function);
        FunctionTotals {
            function_name: profile.strings.get(function.name).to_owned(),
            filename: profile.strings.get(function.file).to_owned(),
            lineno: function.first_line,
            origin: profile.origin(total.function).label(),
            self_error,
            total_error,
            self_samples: total.own.samples,
            total_samples: total.total.samples,
            self_cpu_ns: total.own.cpu_ns,
            total_cpu_ns: total.total.cpu_ns,
            self_wall_ns: total.own.wall_ns,
            total_wall_ns: total.total.wall_ns,
            self_gil_ns: total.own.gil_ns,
            total_gil_ns: total.total.gil_ns,
        }
    }
}

/// An aware datetime of `unix_ns`.
fn datetime<'py>(py: Python<'py>, unix_ns: u64) -> PyResult<Bound<'py, PyAny>> {
    let module = py.import("datetime")?;
    let utc = module.getattr("timezone")?.getattr("utc")?;
    let epoch = module.getattr("datetime")?.call_method1("fromtimestamp", (0, utc))?;
    // In whole microseconds: a float of seconds would be off by a few hundred nanoseconds today.
    let arguments = PyDict::new(py);
    arguments.set_item("microseconds", unix_ns / 1_000)?;
    let since = module.getattr("timedelta")?.call((), Some(&arguments))?;
    epoch.call_method1("__add__", (since,))
}

#[pymethods]
impl Profile {
    /// When the recording began; an aware datetime.
    #[getter]
    fn start_time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.inner().info.start.unix_ns)
    }

    /// When it ended; an aware datetime.
    #[getter]
    fn end_time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.inner().end.unix_ns)
    }

    /// Why it ended: "stop", "exit" (of the process), "SIGTERM", "out of memory", or "snapshot" if it went on. None where a file does
    /// not say.
    #[getter]
    fn ending(&self) -> Option<&'static str> {
        Some(self.inner().ending.label()).filter(|label| !label.is_empty())
    }

    /// Time asked for between two samples of a thread on CPU, ms.
    #[getter]
    fn interval_ms(&self) -> f64 {
        self.inner().info.interval_ns as f64 / 1e6
    }

    /// The samples in the order of time, each made when it is looked at.
    #[getter]
    fn samples(&self) -> Samples {
        Samples { recorded: Arc::clone(&self.recorded) }
    }

    /// How many samples were taken; those merged since to save memory count each.
    #[getter]
    fn sample_count(&self) -> u64 {
        self.inner().weights().samples
    }

    /// Samples lost because the ring was full. Their weights are not: the thread's next sample carries them.
    #[getter]
    fn dropped_count(&self) -> u64 {
        self.inner().counters.dropped
    }

    /// Version of the interpreter that was profiled.
    #[getter]
    fn python_version(&self) -> &str {
        &self.inner().info.python_version
    }

    /// System and machine that it ran on.
    #[getter]
    fn platform(&self) -> &str {
        &self.inner().info.platform
    }

    /// Wall time from start to end, ms.
    #[getter]
    fn total_duration_ms(&self) -> f64 {
        self.duration_ns() as f64 / 1e6
    }

    /// Samples taken a second, over all threads.
    #[getter]
    fn effective_rate_hz(&self) -> f64 {
        match self.duration_ns() {
            0 => 0.0,
            duration_ns => self.inner().weights().samples as f64 / (duration_ns as f64 / 1e9),
        }
    }

    /// The rate that running threads were sampled at: the one asked for, less the ticks that found no sample. 0 where a file
    /// does not say, or if nothing ran.
    #[getter]
    fn running_rate_hz(&self) -> f64 {
        self.inner().running_rate_hz()
    }

    /// The threads that were seen, in the order of first sight.
    #[getter]
    fn threads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        const WHAT: &str = "for the list of threads";
        let threads = self.inner().threads.iter().map(|thread| {
            memory::go_on(WHAT)?;
            let weights = thread.weights();
            let value = Thread {
                native_id: thread.native_id,
                python_id: thread.python_id,
                name: thread.name.clone(),
                is_main: thread.is_main,
                sample_count: weights.samples,
                cpu_ns: weights.cpu_ns,
                wall_ns: weights.wall_ns,
                gil_ns: weights.gil_ns,
            };
            Bound::new(py, value)
        });
        let bytes = self.inner().threads.len() * 64;
        with_room(py, WHAT, bytes, || PyTuple::new(py, threads.collect::<PyResult<Vec<_>>>()?))
    }

    /// The honest numbers: what was got, what was lost, what it cost.
    #[getter]
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = &self.inner().counters;
        let values = PyDict::new(py);
        for (name, value) in [
            ("samples", counters.samples),
            ("dropped", counters.dropped),
            ("missed_ticks", counters.missed_ticks),
            ("truncated_stacks", counters.truncated_stacks),
            ("torn_stacks", counters.torn_stacks),
            ("collapsed", counters.collapsed),
            ("coarsened", counters.coarsened),
            ("folded_threads", counters.folded_threads),
            ("profiler_cpu_ns", counters.profiler_cpu_ns),
            ("handler_ns", counters.handler_ns),
            ("memory_bytes", counters.memory_bytes),
        ] {
            values.set_item(name, value)?;
        }
        Ok(values)
    }

    /// The profile on one clock: "cpu", "wall", or "gil" for wall time during which the thread held the GIL.
    fn view(slf: Bound<'_, Self>, clock: &str) -> PyResult<View> {
        Ok(View { clock: clock_view::clock(clock)?, profile: slf.unbind() })
    }

    /// Every distinct stack with what its samples add up to over all threads, most CPU time first, then wall time. With a
    /// `clock`, those that time went to on it, most of it first.
    #[pyo3(signature = (*, clock = None))]
    pub(crate) fn aggregate<'py>(&self, py: Python<'py>, clock: Option<&str>) -> PyResult<Bound<'py, PyList>> {
        const WHAT: &str = "for the sums of all stacks";
        let clock = clock.map(clock_view::clock).transpose()?;
        with_room(py, WHAT, self.inner().view_bytes(), || {
            let weights = self.inner().weights_by_leaf();
            let ids = self.inner().tree.ids();
            let is_seen = |weights: &Weights| clock.map_or(weights.samples, |clock| weights.on(clock)) > 0;
            let mut seen: Vec<_> = ids.zip(weights).filter(|(_, weights)| is_seen(weights)).collect();
            seen.sort_by_key(|(leaf, weights)| {
                let first = clock.map_or(weights.cpu_ns, |clock| weights.on(clock));
                (std::cmp::Reverse((first, weights.cpu_ns, weights.wall_ns)), *leaf)
            });
            memory::list(py, WHAT, seen, |(leaf, weights)| {
                Ok(StackTotals {
                    frames: self.recorded.frames(py, leaf)?,
                    samples: weights.samples,
                    cpu_ns: weights.cpu_ns,
                    wall_ns: weights.wall_ns,
                    gil_ns: weights.gil_ns,
                })
            })
        })
    }

    /// The functions that most time went to, `limit` of them (all for None), by their own or their total time.
    #[pyo3(signature = (limit = Some(10), *, clock = "cpu", sort = "self"), text_signature = "($self, limit=10, *, clock='cpu', sort='self')")]
    pub(crate) fn top<'py>(
        &self,
        py: Python<'py>,
        limit: Option<usize>,
        clock: &str,
        sort: &str,
    ) -> PyResult<Bound<'py, PyList>> {
        const WHAT: &str = "for the table of functions";
        let clock = clock_view::clock(clock)?;
        let by_total = match sort {
            "self" => false,
            "total" => true,
            other => return Err(PyValueError::new_err(format!("sort must be \"self\" or \"total\", not {other:?}"))),
        };
        with_room(py, WHAT, self.inner().sums_bytes(), || {
            let mut totals = self.inner().function_totals(clock);
            if by_total {
                totals.sort_by_key(|total| std::cmp::Reverse(total.total.on(clock)));
            }
            let errors = self.inner().share_errors(clock);
            let shown = totals.iter().take(limit.unwrap_or(usize::MAX));
            memory::list(py, WHAT, shown, |total| Ok(self.function_totals(total, errors[total.function.index()])))
        })
    }

    /// What all samples come to on `clock`, ns: with and without Python functions.
    #[pyo3(signature = (clock = "cpu"), text_signature = "($self, clock='cpu')")]
    fn time_ns(&self, clock: &str) -> PyResult<u64> {
        Ok(views::time_ns(self.inner(), clock_view::clock(clock)?))
    }

    /// The lines that most time went to, `limit` of them (all for None), by their own time.
    #[pyo3(signature = (limit = Some(10), *, clock = "cpu"), text_signature = "($self, limit=10, *, clock='cpu')")]
    fn lines<'py>(&self, py: Python<'py>, limit: Option<usize>, clock: &str) -> PyResult<Bound<'py, PyList>> {
        views::lines(py, self.inner(), clock_view::clock(clock)?, limit)
    }

    /// The call tree, every call before those it made and of these the largest first: calls with at least `min_share` of all time, the
    /// `limit` largest of them; with `lines`, the lines of a function apart. A function that calls itself is one call.
    #[pyo3(signature = (*, clock = "cpu", min_share = 0.01, limit = None, lines = false), text_signature = "($self, *, clock='cpu', min_share=0.01, limit=None, lines=False)")]
    fn calls<'py>(
        &self,
        py: Python<'py>,
        clock: &str,
        min_share: f64,
        limit: Option<usize>,
        lines: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let options = FoldOptions { min_share, max_calls: limit.unwrap_or(usize::MAX), lines };
        views::calls(py, self.inner(), clock_view::clock(clock)?, &options)
    }

    /// What the threads' time went to: computing, and waiting by what for, with the place where most of each wait was spent.
    fn activities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        views::activities(py, self.inner())
    }

    /// A part of the profile, as a profile: the samples of the threads with that name or id, with a function on their stack in whose
    /// name or file the regular expression `focus` finds something, and none for `ignore`. With `trim`, stacks begin with
    /// the outermost function of the focus. ValueError if no thread is called so.
    #[pyo3(signature = (*, thread = None, focus = None, ignore = None, trim = false))]
    fn filter(
        &self,
        py: Python<'_>,
        thread: Option<Bound<'_, PyAny>>,
        focus: Option<Bound<'_, PyAny>>,
        ignore: Option<Bound<'_, PyAny>>,
        trim: bool,
    ) -> PyResult<Self> {
        with_room_or_nothing(py, "for a part of the profile", self.inner().copy_bytes(), || {
            let filter = views::filter(self.inner(), thread.as_ref(), focus.as_ref(), ignore.as_ref(), trim)?;
            Ok(Self::new(py.detach(|| self.inner().filtered(&filter))))
        })
    }

    /// This profile and others as one: every thread of each by itself, named after its process, on one axis of time. All
    /// sums add up.
    #[pyo3(signature = (*others))]
    fn merge(&self, py: Python<'_>, others: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        let recorded: Vec<_> = others.iter().map(|other| Arc::clone(&other.recorded)).collect();
        let profiles: Vec<_> = std::iter::once(&self.recorded).chain(&recorded).map(|one| &one.profile).collect();
        let bytes = profiles.iter().map(|profile| profile.copy_bytes()).fold(0, usize::saturating_add);
        with_room_or_nothing(py, "for the sum of the profiles", bytes, || {
            Ok(Self::new(py.detach(|| profile::Profile::merged(&profiles))))
        })
    }

    /// What differs in `other`, the profile of a later run, from this one, by the own time of functions: which have changed by more
    /// than the share `at_least` of their time, as far as the numbers of samples can tell.
    ///
    /// `units` says how many units of work the two stand for; without it the profiles are compared so that what most functions
    /// agree on stands still. Functions below `min_share` of all time are left out. ValueError for what is no share or unit.
    #[pyo3(signature = (other, *, clock = "cpu", units = None, at_least = 0.03, min_share = 0.005), text_signature = "($self, other, *, clock='cpu', units=None, at_least=0.03, min_share=0.005)")]
    fn diff(
        &self,
        py: Python<'_>,
        other: PyRef<'_, Self>,
        clock: &str,
        units: Option<(f64, f64)>,
        at_least: f64,
        min_share: f64,
    ) -> PyResult<ProfileDifference> {
        let options =
            DifferenceOptions { units, at_least, min_share, ..DifferenceOptions::new(clock_view::clock(clock)?) };
        let bytes = self.inner().view_bytes().saturating_add(other.inner().view_bytes());
        with_room_or_nothing(py, "for the difference of the profiles", bytes, || {
            views::difference(py, &self.recorded, &other.recorded, &options)
        })
    }

    /// The profile as speedscope's JSON document, on one `clock` or on all; with `lines`, a frame for each line of a function.
    #[pyo3(signature = (*, clock = None, lines = false))]
    pub(crate) fn to_speedscope<'py>(
        &self,
        py: Python<'py>,
        clock: Option<&str>,
        lines: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let clock = clock.map(clock_view::clock).transpose()?;
        let options = WriteOptions { clock, lines, ..save::defaults() };
        with_room(py, "for speedscope's document", formats::write_bytes(self.inner(), Format::Speedscope), || {
            let text = self.text(py, Format::Speedscope, &options)?;
            let length = text.as_bytes().len();
            let bytes = PyBytes::new_with(py, length, |place| {
                place.copy_from_slice(text.as_bytes());
                Ok(())
            })?;
            drop(text);
            py.import("json")?.call_method1("loads", (bytes,))
        })
    }

    /// The profile as collapsed stacks: a line for each, frames root first, weights in nanoseconds of `clock`.
    #[pyo3(signature = (*, clock = None, lines = false, threads = false))]
    pub(crate) fn to_collapsed<'py>(
        &self,
        py: Python<'py>,
        clock: Option<&str>,
        lines: bool,
        threads: bool,
    ) -> PyResult<Bound<'py, PyString>> {
        let clock = clock.map(clock_view::clock).transpose()?;
        let options = WriteOptions { clock, lines, thread_roots: threads, ..save::defaults() };
        with_room(py, "for the collapsed stacks", formats::write_bytes(self.inner(), Format::Collapsed), || {
            self.text(py, Format::Collapsed, &options)?.to_python(py)
        })
    }

    /// Writes the profile to `path`, in the format that its name or `format` says (speedscope if neither does). A file
    /// that is there is replaced in one step, or left alone if writing fails with OSError.
    #[pyo3(signature = (path, format = None, *, clock = None, lines = false, threads = false))]
    pub(crate) fn save(
        &self,
        py: Python<'_>,
        path: PathBuf,
        format: Option<&str>,
        clock: Option<&str>,
        lines: bool,
        threads: bool,
    ) -> PyResult<()> {
        let format = save::format_for(&path, format).map_err(PyValueError::new_err)?;
        let clock = clock.map(clock_view::clock).transpose()?;
        let options = WriteOptions { clock, lines, thread_roots: threads, ..save::defaults() };
        with_room(py, &format!("to write {}", path.display()), formats::write_bytes(self.inner(), format), || {
            py.detach(|| save::save(self.inner(), &path, format, &options)).map_err(|error| os_error(&error, &path))
        })
    }

    /// What is lost when the profile is saved in `format`: a sentence for each thing that has no place there.
    #[pyo3(signature = (format, *, clock = None, lines = false, threads = false))]
    fn losses(
        &self,
        py: Python<'_>,
        format: &str,
        clock: Option<&str>,
        lines: bool,
        threads: bool,
    ) -> PyResult<Vec<String>> {
        let format = save::format_for(std::path::Path::new(""), Some(format)).map_err(PyValueError::new_err)?;
        let clock = clock.map(clock_view::clock).transpose()?;
        let options = WriteOptions { clock, lines, thread_roots: threads, ..save::defaults() };
        with_room(py, "to say what a file has no place for", self.inner().view_bytes(), || {
            Ok(py.detach(|| formats::losses(self.inner(), format, &options)))
        })
    }

    /// Reads a profile from a file of any format that can be read, ours or another tool's. OSError if it cannot be read,
    /// ValueError with the reason and the place if it is not a profile. A UserWarning says what is not as it should be with
    /// one that could be read: that it is cut short, that it has values which are no times.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let what = format!("to read {}", path.display());
        let content = py.detach(|| fs::read(&path)).map_err(|error| match error.kind() {
            std::io::ErrorKind::OutOfMemory => memory::refused(&what),
            _ => os_error(&error, &path),
        })?;
        let reading = with_room_or_nothing(py, &what, formats::read_bytes(&content), || {
            py.detach(|| formats::read_with_remarks(&content, None))
                .map_err(|error| PyValueError::new_err(format!("{}: {error}", path.display())))
        })?;
        for remark in &reading.remarks {
            // A nul has no place in a warning; remarks have none, paths neither.
            let text = std::ffi::CString::new(format!("{}: {remark}", path.display()))?;
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)?;
        }
        Ok(Self::new(reading.profile))
    }

    /// What a notebook shows: the page of the HTML format, shut off from the notebook.
    fn _repr_html_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        with_room(py, "for the page of the profile", formats::write_bytes(self.inner(), Format::Html), || {
            py.detach(|| notebook::html(self.inner())).map_err(out_of_memory)?.to_python(py)
        })
    }

    fn __repr__(&self) -> String {
        format!(
            "<Profile of {:.1} s: {} samples of {} threads>",
            self.duration_ns() as f64 / 1e9,
            self.sample_count(),
            self.inner().threads.len()
        )
    }
}

/// The error of a text that is not written to a file.
fn out_of_memory(error: std::io::Error) -> PyErr {
    if error.kind() == std::io::ErrorKind::OutOfMemory { PyMemoryError::new_err(()) } else { error.into() }
}

/// The OSError that Python itself would raise, file name and all.
pub(crate) fn os_error(error: &std::io::Error, path: &std::path::Path) -> PyErr {
    match error.raw_os_error() {
        None if error.kind() == std::io::ErrorKind::OutOfMemory => PyMemoryError::new_err(()),
        // The form with a file name picks the subclass, PermissionError for instance. On Windows the number is the system's, and
        // `errno` is what Python makes of it.
        #[cfg(windows)]
        Some(code) => PyOSError::new_err((0, strerror(code), path.to_owned(), code)),
        #[cfg(not(windows))]
        Some(code) => PyOSError::new_err((code, strerror(code), path.to_owned())),
        None => PyOSError::new_err(format!("{}: {error}", path.display())),
    }
}

/// The system's words without the number that Rust appends.
fn strerror(code: i32) -> String {
    let text = std::io::Error::from_raw_os_error(code).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

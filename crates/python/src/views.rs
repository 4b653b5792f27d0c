//! What a profile is asked for beyond its samples: parts of it, lines, calls, activities, differences.

use std::path::PathBuf;
use std::sync::Arc;

use profile::{
    Clock, Difference, DifferenceOptions, Filter, FoldOptions, FunctionId, FunctionSet, Profile, ShareErrors, Weights,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::memory::{self, with_room};
use crate::profile_class::os_error;
use crate::samples::Recorded;
use crate::save;
use crate::values::Frame;

/// What one line of a function adds up to over all threads, on one clock.
#[pyclass(frozen, eq, get_all, module = "spprof")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LineTotals {
    /// Qualified name of the function.
    function_name: String,
    /// File.
    filename: String,
    /// The line; 0 where unknown.
    lineno: u32,
    /// Whose code it is: `own code`, `library`, `standard library`, `native` or `garbage collector`.
    origin: &'static str,
    /// Samples in which it was the innermost frame.
    self_samples: u64,
    /// Samples in which it was on the stack.
    total_samples: u64,
    /// Time as the innermost frame, ns.
    self_ns: u64,
    /// Time on the stack, ns.
    total_ns: u64,
    /// Standard error of its own share of all time, 0.01 for one per cent; None where the profile does not say enough.
    self_error: Option<f64>,
    /// Standard error of its total share.
    total_error: Option<f64>,
}

#[pymethods]
impl LineTotals {
    fn __repr__(&self) -> String {
        format!(
            "LineTotals(function_name={:?}, filename={:?}, lineno={}, self_ns={}, total_ns={})",
            self.function_name, self.filename, self.lineno, self.self_ns, self.total_ns
        )
    }
}

/// One call of the call tree: a function, called the way that the calls before it in the list say.
#[pyclass(frozen, eq, get_all, module = "spprof")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// How many of the calls that lead here, this one included, stand beside others.
    level: usize,
    /// Its caller made other calls that are shown.
    has_siblings: bool,
    /// It is the last of them.
    is_last: bool,
    /// Qualified name of the function.
    function_name: String,
    /// File.
    filename: String,
    /// The line where lines are told apart, else that of the definition; 0 where unknown.
    lineno: u32,
    /// Whose code it is, as in `LineTotals`.
    origin: &'static str,
    /// Time of its own, ns.
    self_ns: u64,
    /// Time with all that it called, ns.
    total_ns: u64,
    /// How many calls that it made are not shown.
    folded_calls: usize,
    /// Their time, ns.
    folded_ns: u64,
}

#[pymethods]
impl Call {
    fn __repr__(&self) -> String {
        format!(
            "Call(level={}, function_name={:?}, filename={:?}, lineno={}, self_ns={}, total_ns={})",
            self.level, self.function_name, self.filename, self.lineno, self.self_ns, self.total_ns
        )
    }
}

/// How much time all threads spent computing, or waiting for one thing.
#[pyclass(frozen, eq, get_all, module = "spprof")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActivityTotals {
    /// `computing`, `waiting for a processor`, `waiting for the GIL`, `blocked, holding the GIL`, `blocked`, or `waiting` where the
    /// file does not say for what.
    activity: &'static str,
    /// Time over all threads, ns.
    time_ns: u64,
    /// The call where most of it was spent waiting; None for computing and where there is none.
    place: Option<Frame>,
    /// The innermost call of the program's own code there, which may be the same.
    own_place: Option<Frame>,
    /// How much of the time was spent there, ns.
    place_ns: u64,
}

#[pymethods]
impl ActivityTotals {
    fn __repr__(&self) -> String {
        format!("ActivityTotals(activity={:?}, time_ns={}, place_ns={})", self.activity, self.time_ns, self.place_ns)
    }
}

/// One function in two profiles.
#[pyclass(frozen, eq, get_all, module = "spprof")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionDifference {
    /// Qualified name.
    function_name: String,
    /// File, as the second profile names it if it has it.
    filename: String,
    /// Line of the definition there; 0 where unknown.
    lineno: u32,
    /// Whose code it is, as in `LineTotals`.
    origin: &'static str,
    /// Own time in the first profile, ns.
    self_before_ns: u64,
    /// Own time in the second, ns.
    self_after_ns: u64,
    /// Total time in the first, ns.
    total_before_ns: u64,
    /// Total time in the second, ns.
    total_after_ns: u64,
    /// Own time in the second, divided by the scale, over that in the first; infinite for a function that is new.
    ratio: f64,
    /// Lower end of the interval that holds the true ratio in 95 of 100 cases.
    ratio_low: f64,
    /// Its upper end.
    ratio_high: f64,
    /// How sure it is that the function changed, from 0 to 1, with all that were compared taken together.
    confidence: f64,
    /// It changed, as far as samples can tell.
    is_certain: bool,
}

#[pymethods]
impl FunctionDifference {
    fn __repr__(&self) -> String {
        format!(
            "FunctionDifference(function_name={:?}, filename={:?}, self_before_ns={}, self_after_ns={}, ratio={:.3}, confidence={:.4})",
            self.function_name, self.filename, self.self_before_ns, self.self_after_ns, self.ratio, self.confidence
        )
    }
}

/// What differs between two profiles.
#[pyclass(frozen, module = "spprof")]
pub(crate) struct ProfileDifference {
    /// The clock that was compared.
    #[pyo3(get)]
    clock: String,
    /// What the second profile's times are to be divided by to be compared with the first's.
    #[pyo3(get)]
    scale: f64,
    /// Own time of all functions in the first, ns.
    #[pyo3(get)]
    before_ns: u64,
    /// The same in the second, ns.
    #[pyo3(get)]
    after_ns: u64,
    /// All functions that were compared: those that changed for certain, then by how much time they differ.
    #[pyo3(get)]
    functions: Vec<Py<FunctionDifference>>,
    before: Arc<Recorded>,
    after: Arc<Recorded>,
    found: Difference,
}

#[pymethods]
impl ProfileDifference {
    /// The functions that changed for certain.
    #[getter]
    fn changes(&self, py: Python<'_>) -> Vec<Py<FunctionDifference>> {
        let certain = self.functions.iter().take_while(|function| function.get().is_certain);
        certain.map(|function| function.clone_ref(py)).collect()
    }

    /// Writes an HTML page with the functions and a flame graph of both profiles, red where more time went and blue where less.
    /// ValueError for a name that does not end in .html; a file that is there is left alone if writing fails with OSError.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        if !matches!(ending.as_deref(), Some("html" | "htm")) {
            let message = format!(
                "a difference can only be written as HTML, to a name that ends in .html: not {}",
                path.display()
            );
            return Err(PyValueError::new_err(message));
        }
        let (before, after) = (&self.before.profile, &self.after.profile);
        let bytes = formats::write_difference_bytes(before, after);
        with_room(py, &format!("to write {}", path.display()), bytes, || {
            py.detach(|| save::write_to(&path, |file| formats::write_difference(before, after, &self.found, file)))
                .map_err(|error| os_error(&error, &path))
        })
    }

    fn __repr__(&self) -> String {
        let changes = self.functions.iter().filter(|function| function.get().is_certain).count();
        format!("<ProfileDifference of {} functions: {changes} changed, scale {:.3}>", self.functions.len(), self.scale)
    }
}

/// Name, file and line of the definition.
pub(crate) fn describe(profile: &Profile, function: FunctionId) -> (String, String, u32) {
    let found = profile.functions.get(function);
    (profile.strings.get(found.name).to_owned(), profile.strings.get(found.file).to_owned(), found.first_line)
}

/// The errors, where the profile says enough for them.
pub(crate) fn known_errors(profile: &Profile, errors: ShareErrors) -> (Option<f64>, Option<f64>) {
    let known = |error| profile.has_precision().then_some(error);
    (known(errors.own), known(errors.total))
}

pub(crate) fn lines<'py>(
    py: Python<'py>,
    profile: &Profile,
    clock: Clock,
    limit: Option<usize>,
) -> PyResult<Bound<'py, PyList>> {
    const WHAT: &str = "for the table of lines";
    with_room(py, WHAT, profile.view_bytes(), || {
        let lines = profile.line_totals(clock);
        memory::list(py, WHAT, lines.iter().take(limit.unwrap_or(usize::MAX)), |line| {
            let (function_name, filename, _) = describe(profile, line.function);
            let (self_error, total_error) = known_errors(profile, line.errors);
            Ok(LineTotals {
                function_name,
                filename,
                lineno: line.line,
                origin: profile.origin(line.function).label(),
                self_samples: line.own.samples,
                total_samples: line.total.samples,
                self_ns: line.own.on(clock),
                total_ns: line.total.on(clock),
                self_error,
                total_error,
            })
        })
    })
}

pub(crate) fn calls<'py>(
    py: Python<'py>,
    profile: &Profile,
    clock: Clock,
    options: &FoldOptions,
) -> PyResult<Bound<'py, PyList>> {
    const WHAT: &str = "for the call tree";
    with_room(py, WHAT, profile.view_bytes(), || {
        memory::list(py, WHAT, profile.folded_calls(clock, options), |call| {
            let (function_name, filename, first_line) = describe(profile, call.function);
            Ok(Call {
                level: call.level,
                has_siblings: call.has_siblings,
                is_last: call.is_last,
                function_name,
                filename,
                lineno: if options.lines { call.line } else { first_line },
                origin: profile.origin(call.function).label(),
                self_ns: call.own.on(clock),
                total_ns: call.total.on(clock),
                folded_calls: call.folded_calls,
                folded_ns: call.folded.on(clock),
            })
        })
    })
}

pub(crate) fn activities<'py>(py: Python<'py>, profile: &Profile) -> PyResult<Bound<'py, PyList>> {
    const WHAT: &str = "for what the time went to";
    let frame = |(function, line): (FunctionId, u32)| {
        let (name, file, _) = describe(profile, function);
        Frame::new(name, file, line, profile.functions.get(function).is_native)
    };
    with_room(py, WHAT, profile.view_bytes(), || {
        memory::list(py, WHAT, profile.activities(), |total| {
            let place = total.most.map(|(place, _)| place);
            Ok(ActivityTotals {
                activity: total.activity.label(),
                time_ns: total.time_ns,
                place: place.map(|place| frame((place.function, place.line))),
                own_place: place.and_then(|place| place.own).map(frame),
                place_ns: total.most.map_or(0, |(_, time_ns)| time_ns),
            })
        })
    })
}

pub(crate) fn difference(
    py: Python<'_>,
    before: &Arc<Recorded>,
    after: &Arc<Recorded>,
    options: &DifferenceOptions,
) -> PyResult<ProfileDifference> {
    let (before, after) = (Arc::clone(before), Arc::clone(after));
    if let Some((before, after)) = options.units {
        let is_number_of_work = |units: f64| units.is_finite() && units > 0.0;
        if !is_number_of_work(before) || !is_number_of_work(after) {
            return Err(PyValueError::new_err(format!("units must be two numbers above 0, not ({before}, {after})")));
        }
    }
    for (name, share) in [("at_least", options.at_least), ("min_share", options.min_share)] {
        if !(0.0..=f64::MAX).contains(&share) {
            return Err(PyValueError::new_err(format!("{name} must be a share from 0 on, not {share}")));
        }
    }
    let found = py.detach(|| before.profile.difference(&after.profile, options));
    let functions = found.functions.iter().map(|function| {
        memory::go_on("for the difference of the profiles")?;
        let (origin, name, file, line) = before.profile.describe_difference(&after.profile, function);
        let value = FunctionDifference {
            function_name: name.to_owned(),
            filename: file.to_owned(),
            lineno: line,
            origin: origin.label(),
            self_before_ns: function.own_before_ns,
            self_after_ns: function.own_after_ns,
            total_before_ns: function.total_before_ns,
            total_after_ns: function.total_after_ns,
            ratio: function.ratio,
            ratio_low: function.ratio_low,
            ratio_high: function.ratio_high,
            confidence: function.confidence,
            is_certain: function.is_certain,
        };
        Py::new(py, value)
    });
    let functions = functions.collect::<PyResult<Vec<_>>>()?;
    Ok(ProfileDifference {
        clock: found.clock.label().to_ascii_lowercase(),
        scale: found.scale,
        before_ns: found.before_ns,
        after_ns: found.after_ns,
        functions,
        before,
        after,
        found,
    })
}

/// The filter that the arguments of `Profile.filter` mean.
pub(crate) fn filter(
    profile: &Profile,
    thread: Option<&Bound<'_, PyAny>>,
    focus: Option<&Bound<'_, PyAny>>,
    ignore: Option<&Bound<'_, PyAny>>,
    trim: bool,
) -> PyResult<Filter> {
    let threads = match thread {
        None => None,
        Some(thread) => {
            let text = thread.str()?.to_string();
            let threads = profile.threads_called(&text);
            if threads.is_empty() {
                let known: Vec<String> = profile
                    .threads
                    .iter()
                    .take(20)
                    .map(|thread| match thread.native_id {
                        0 => format!("{:?}", thread.name),
                        id => format!("{:?} ({id})", thread.name),
                    })
                    .collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(PyValueError::new_err(format!("no thread is called {text:?}; there are: {known}")));
            }
            Some(threads)
        }
    };
    let set = |pattern: Option<&Bound<'_, PyAny>>| pattern.map(|pattern| matching(profile, pattern)).transpose();
    Ok(Filter { threads, focus: set(focus)?, ignore: set(ignore)?, trim })
}

/// The functions in whose name or file a regular expression of Python's finds something.
fn matching(profile: &Profile, pattern: &Bound<'_, PyAny>) -> PyResult<FunctionSet> {
    let search = pattern.py().import("re")?.call_method1("compile", (pattern,))?.getattr("search")?;
    let finds = |text: &str| PyResult::Ok(!search.call1((text,))?.is_none());
    let mut failed = None;
    let set = FunctionSet::new(&profile.functions, |id| {
        let function = profile.functions.get(id);
        let [name, file] = [function.name, function.file].map(|text| profile.strings.get(text));
        if failed.is_some() {
            return false;
        }
        match finds(name).and_then(|found| if found { Ok(true) } else { finds(file) }) {
            Ok(found) => found,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    });
    failed.map_or(Ok(set), Err)
}

/// What all samples of a profile come to on a clock.
pub(crate) fn time_ns(profile: &Profile, clock: Clock) -> u64 {
    Weights::on(&profile.weights(), clock)
}

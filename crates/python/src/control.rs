//! Start, stop and all that is asked of a running session. The GIL is let go wherever another thread may be waited for.

use std::ffi::CString;
use std::path::PathBuf;

use capture::{Options, SessionError};
use formats::WriteOptions;
use profile::{Ending, RecordingInfo};
use pyo3::exceptions::{PyMemoryError, PyOSError, PyRuntimeError, PyRuntimeWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::clock_view;
use crate::inspect::{host, learn_gil_wait};
use crate::profile_class::Profile;
use crate::save;
use crate::values::ProfilerStats;

fn raise(error: SessionError) -> PyErr {
    match error {
        SessionError::NoMemory => PyMemoryError::new_err(error.to_string()),
        SessionError::System { .. } => PyOSError::new_err(error.to_string()),
        SessionError::AlreadyRunning | SessionError::NotRunning => PyRuntimeError::new_err(error.to_string()),
    }
}

/// Begins to sample every thread of the process.
///
/// If `output_path` is given and the program leaves SIGTERM to its default, a SIGTERM saves the profile there before it
/// ends the process; every other way out is the caller's to save.
#[pyfunction]
#[pyo3(signature = (interval_ns, memory_limit_bytes, *, max_depth_frames, output_path, output_format, output_clock = None, hidden_directory))]
#[expect(clippy::too_many_arguments, reason = "they are keyword arguments of a Python function")]
pub(crate) fn start(
    py: Python<'_>,
    interval_ns: u64,
    memory_limit_bytes: usize,
    max_depth_frames: u16,
    output_path: Option<PathBuf>,
    output_format: Option<&str>,
    output_clock: Option<&str>,
    hidden_directory: String,
) -> PyResult<()> {
    let host = host(py)?;
    let options =
        Options { interval_ns, memory_limit_bytes, max_depth_frames, hidden_directory, info: recording_info(py)? };
    let on_termination = match output_path {
        None => None,
        Some(path) => {
            let format = save::format_for(&path, output_format).map_err(PyValueError::new_err)?;
            let clock = output_clock.map(clock_view::clock).transpose()?;
            let hand_over: capture::OnTermination = Box::new(move |profile| {
                // Where there is no room beforehand, there may be enough all the same.
                let _operation = capture::Operation::begin(formats::write_bytes(&profile, format));
                // The process is ending by a signal: there is nobody left to tell.
                let _ = save::save(&profile, &path, format, &WriteOptions { clock, ..save::defaults() });
            });
            Some(hand_over)
        }
    };
    learn_gil_wait(py, &host);
    py.detach(|| capture::start(host, options, on_termination)).map_err(raise)
}

/// What the profile says of the interpreter and the program.
fn recording_info(py: Python<'_>) -> PyResult<RecordingInfo> {
    let sys = py.import("sys")?;
    let version = sys.getattr("version_info")?;
    let part = |index: usize| -> PyResult<u32> { version.get_item(index)?.extract() };
    let argv = match sys.getattr_opt("argv")? {
        Some(argv) => argv.extract().unwrap_or_default(),
        None => Vec::new(),
    };
    let free_threaded = if host(py)?.layout.free_threaded { "t" } else { "" };
    Ok(RecordingInfo {
        python_version: format!("{}.{}.{}{free_threaded}", part(0)?, part(1)?, part(2)?),
        implementation: "CPython".to_owned(),
        // Not from `os.uname`: it lets the GIL go, and a daemon thread that takes it again while the interpreter ends is ended
        // on the spot (CPython up to 3.13), which Rust's frames below it do not survive.
        platform: capture::system_name(),
        pid: std::process::id(),
        argv,
        ..RecordingInfo::default()
    })
}

/// Ends the session and returns what it recorded. `at_exit`: the end of the process ends it.
#[pyfunction]
#[pyo3(signature = (*, at_exit = false))]
pub(crate) fn stop(py: Python<'_>, at_exit: bool) -> PyResult<Profile> {
    let ending = if at_exit { Ending::Exit } else { Ending::Stop };
    let profile = py.detach(|| capture::stop(ending)).map_err(raise)?;
    let ended_early = profile.ending == Ending::OutOfMemory;
    let seconds = profile.duration_ns() as f64 / 1e9;
    let profile = Profile::new(profile);
    if ended_early {
        warn_of_early_end(py, seconds);
    }
    Ok(profile)
}

/// Says that a recording is shorter than its session. The profile must not be lost, so a warning that is turned into an
/// exception is only reported, and so is a want of memory for the warning itself.
fn warn_of_early_end(py: Python<'_>, seconds: f64) {
    let message = format!(
        "The profiler ran out of memory after {seconds:.3} s and has recorded nothing since; the profile is complete up to then"
    );
    let warned = CString::new(message)
        .map_err(PyErr::from)
        .and_then(|message| PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 2));
    if let Err(error) = warned {
        error.write_unraisable(py, None);
    }
}

/// The profile so far; sampling goes on.
#[pyfunction]
pub(crate) fn snapshot(py: Python<'_>) -> PyResult<Profile> {
    py.detach(capture::snapshot).map(Profile::new).map_err(raise)
}

/// Stops the ticks until `resume`.
#[pyfunction]
pub(crate) fn pause(py: Python<'_>) -> PyResult<()> {
    py.detach(capture::pause).map_err(raise)
}

/// Lets the ticks go on.
#[pyfunction]
pub(crate) fn resume(py: Python<'_>) -> PyResult<()> {
    py.detach(capture::resume).map_err(raise)
}

/// A function for `gc.callbacks`: the calling thread begins or ends a garbage collection.
#[pyfunction]
#[pyo3(signature = (phase, info, /))]
pub(crate) fn collection_changed(phase: &str, info: &Bound<'_, PyAny>) {
    let _ = info;
    if phase == "start" {
        capture::collection_began();
    } else {
        capture::collection_ended();
    }
}

/// Whether there is a session, paused or not.
#[pyfunction]
pub(crate) fn is_active() -> bool {
    capture::is_active()
}

/// Numbers of the running session, or None.
#[pyfunction]
pub(crate) fn stats(py: Python<'_>) -> Option<ProfilerStats> {
    let stats = py.detach(capture::stats)?;
    let counters = stats.counters;
    let seconds = stats.duration_ns as f64 / 1e9;
    let program_ns = stats.process_cpu_ns.saturating_sub(counters.profiler_cpu_ns);
    Some(ProfilerStats {
        collected_samples: counters.samples,
        dropped_samples: counters.dropped,
        truncated_samples: counters.truncated_stacks,
        torn_samples: counters.torn_stacks,
        missed_ticks: counters.missed_ticks,
        duration_ms: stats.duration_ns as f64 / 1e6,
        achieved_rate_hz: if seconds > 0.0 { counters.samples as f64 / seconds } else { 0.0 },
        overhead_estimate_pct: if program_ns > 0 {
            100.0 * counters.profiler_cpu_ns as f64 / program_ns as f64
        } else {
            0.0
        },
        profiler_cpu_ns: counters.profiler_cpu_ns,
        handler_ns: counters.handler_ns,
        memory_bytes: stats.memory_bytes as u64,
        threads: stats.threads,
        threads_without_timer: stats.threads_without_timer,
        threads_refused: stats.threads_refused,
        stale_signals: stats.stale_signals,
        unclaimed_signals: stats.unclaimed_signals,
    })
}

/// Has the calling thread sampled from now on; threads are found by themselves within a tick or two. False when no
/// session runs.
#[pyfunction]
pub(crate) fn register_thread(py: Python<'_>) -> bool {
    py.detach(|| capture::thread_started(None))
}

/// Has the calling thread sampled no more. False if it was not.
#[pyfunction]
pub(crate) fn unregister_thread(py: Python<'_>) -> bool {
    py.detach(|| capture::thread_ended(None))
}

/// The calling thread begins its life under `name`.
#[pyfunction]
pub(crate) fn thread_started(py: Python<'_>, name: &Bound<'_, PyString>) {
    // A name may hold what no encoding takes; it must not keep a thread from going on.
    let name = name.to_string_lossy().into_owned();
    py.detach(|| capture::thread_started(Some(&name)));
}

/// The calling thread, `name`, is about to end.
#[pyfunction]
pub(crate) fn thread_ended(py: Python<'_>, name: &Bound<'_, PyString>) {
    // A name may hold what no encoding takes; it must not keep a thread from going on.
    let name = name.to_string_lossy().into_owned();
    py.detach(|| capture::thread_ended(Some(&name)));
}

/// What `threading` calls the thread of that native id.
#[pyfunction]
pub(crate) fn name_thread(py: Python<'_>, native_id: u64, name: &Bound<'_, PyString>) {
    let name = name.to_string_lossy().into_owned();
    py.detach(|| capture::name_thread(native_id, &name));
}

//! The small values of the API: frozen, compared by content.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// One call of a stack.
#[pyclass(frozen, eq, hash, get_all, module = "spprof")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    /// Qualified name; up to Python 3.10 the plain name, which is all a code object has there.
    function_name: String,
    /// File, as the code object names it.
    filename: String,
    /// Current line; 0 where there is none.
    lineno: u32,
    /// Machine code rather than Python.
    is_native: bool,
}

#[pymethods]
impl Frame {
    #[new]
    #[pyo3(signature = (function_name, filename, lineno, is_native = false))]
    pub(crate) fn new(function_name: String, filename: String, lineno: u32, is_native: bool) -> Self {
        Self { function_name, filename, lineno, is_native }
    }

    fn __repr__(&self) -> String {
        format!(
            "Frame(function_name={:?}, filename={:?}, lineno={}, is_native={})",
            self.function_name,
            self.filename,
            self.lineno,
            if self.is_native { "True" } else { "False" }
        )
    }
}

/// Where one thread was at one time, and what went by since it was last looked at.
#[pyclass(frozen, get_all, module = "spprof")]
pub(crate) struct Sample {
    /// Monotonic time, ns: that of `time.monotonic_ns()`.
    pub(crate) timestamp_ns: u64,
    /// The system's id of the thread, `threading.get_native_id()`.
    pub(crate) thread_id: u64,
    /// Its name, kept after it has ended.
    pub(crate) thread_name: String,
    /// Frames from the outermost call to the innermost; empty while the thread was in no Python function.
    pub(crate) frames: Py<PyTuple>,
    /// Wall time since the thread's previous sample, ns.
    pub(crate) wall_ns: u64,
    /// CPU time that this sample stands for, ns: half of what the thread used since its sample on CPU before, and half of what it used
    /// up to the next.
    pub(crate) cpu_ns: u64,
    /// What the thread was doing: `on-cpu` or `blocked`, then `gil`, `waits-for-gil` or `no-gil`.
    pub(crate) state: String,
}

#[pymethods]
impl Sample {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Sample(timestamp_ns={}, thread_id={}, thread_name={:?}, frames={}, wall_ns={}, cpu_ns={}, state={:?})",
            self.timestamp_ns,
            self.thread_id,
            self.thread_name,
            self.frames.bind(py).repr()?,
            self.wall_ns,
            self.cpu_ns,
            self.state
        ))
    }
}

/// A thread of the profiled process.
#[pyclass(frozen, eq, get_all, module = "spprof")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    /// The system's id, `threading.get_native_id()`; 0 where a file does not say.
    pub(crate) native_id: u64,
    /// `threading.get_ident()`; 0 where a file does not say.
    pub(crate) python_id: u64,
    /// Name, kept after the thread has ended.
    pub(crate) name: String,
    /// The main thread.
    pub(crate) is_main: bool,
    /// Samples taken of it.
    pub(crate) sample_count: u64,
    /// What its samples' CPU time adds up to, ns.
    pub(crate) cpu_ns: u64,
    /// What its samples' wall time adds up to, ns.
    pub(crate) wall_ns: u64,
    /// Of that, time during which it held the GIL, ns.
    pub(crate) gil_ns: u64,
}

#[pymethods]
impl Thread {
    fn __repr__(&self) -> String {
        format!(
            "Thread(native_id={}, python_id={}, name={:?}, is_main={}, sample_count={}, cpu_ns={}, wall_ns={}, gil_ns={})",
            self.native_id,
            self.python_id,
            self.name,
            if self.is_main { "True" } else { "False" },
            self.sample_count,
            self.cpu_ns,
            self.wall_ns,
            self.gil_ns
        )
    }
}

/// What one function adds up to over all threads.
#[pyclass(frozen, eq, get_all, module = "spprof")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionTotals {
    /// Qualified name.
    pub(crate) function_name: String,
    /// File.
    pub(crate) filename: String,
    /// Line of the definition; 0 where unknown.
    pub(crate) lineno: u32,
    /// Whose code it is: `own code`, `library`, `standard library`, `native` or `garbage collector`.
    pub(crate) origin: &'static str,
    /// Standard error of its own share of all time on the clock that was asked for, 0.01 for one per cent; None where the
    /// profile does not say enough.
    pub(crate) self_error: Option<f64>,
    /// Standard error of its total share.
    pub(crate) total_error: Option<f64>,
    /// Samples in which it was the innermost frame.
    pub(crate) self_samples: u64,
    /// Samples in which it was on the stack.
    pub(crate) total_samples: u64,
    /// CPU time as the innermost frame, ns.
    pub(crate) self_cpu_ns: u64,
    /// CPU time on the stack, ns.
    pub(crate) total_cpu_ns: u64,
    /// Wall time as the innermost frame, ns.
    pub(crate) self_wall_ns: u64,
    /// Wall time on the stack, ns.
    pub(crate) total_wall_ns: u64,
    /// Wall time as the innermost frame of a thread that held the GIL, ns.
    pub(crate) self_gil_ns: u64,
    /// Wall time on the stack of a thread that held the GIL, ns.
    pub(crate) total_gil_ns: u64,
}

#[pymethods]
impl FunctionTotals {
    fn __repr__(&self) -> String {
        format!(
            "FunctionTotals(function_name={:?}, filename={:?}, lineno={}, self_samples={}, total_samples={}, self_cpu_ns={}, total_cpu_ns={}, self_wall_ns={}, total_wall_ns={}, self_gil_ns={}, total_gil_ns={})",
            self.function_name,
            self.filename,
            self.lineno,
            self.self_samples,
            self.total_samples,
            self.self_cpu_ns,
            self.total_cpu_ns,
            self.self_wall_ns,
            self.total_wall_ns,
            self.self_gil_ns,
            self.total_gil_ns
        )
    }
}

/// What one distinct stack adds up to over all threads.
#[pyclass(frozen, get_all, module = "spprof")]
pub(crate) struct StackTotals {
    /// Frames from the outermost call to the innermost.
    pub(crate) frames: Py<PyTuple>,
    /// Samples with this stack.
    pub(crate) samples: u64,
    /// Their CPU time, ns.
    pub(crate) cpu_ns: u64,
    /// Their wall time, ns.
    pub(crate) wall_ns: u64,
    /// Of that, time during which the thread held the GIL, ns.
    pub(crate) gil_ns: u64,
}

#[pymethods]
impl StackTotals {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let frames = self.frames.bind(py).repr()?;
        Ok(format!(
            "StackTotals(frames={frames}, samples={}, cpu_ns={}, wall_ns={}, gil_ns={})",
            self.samples, self.cpu_ns, self.wall_ns, self.gil_ns
        ))
    }
}

/// Numbers of the running session, all measured.
#[pyclass(frozen, get_all, module = "spprof")]
pub(crate) struct ProfilerStats {
    /// Samples taken since start.
    pub(crate) collected_samples: u64,
    /// Samples lost because the ring was full.
    pub(crate) dropped_samples: u64,
    /// Samples whose stack was deeper than the limit.
    pub(crate) truncated_samples: u64,
    /// Samples whose stack could not be read to its end.
    pub(crate) torn_samples: u64,
    /// Ticks of threads on CPU that found no sample.
    pub(crate) missed_ticks: u64,
    /// Time since start, ms.
    pub(crate) duration_ms: f64,
    /// Samples a second since start, over all threads.
    pub(crate) achieved_rate_hz: f64,
    /// The profiler's CPU time as a share of what the program used without it, per cent.
    pub(crate) overhead_estimate_pct: f64,
    /// CPU time of the profiler: its handlers and its own thread, ns.
    pub(crate) profiler_cpu_ns: u64,
    /// Of it, time inside signal handlers, ns.
    pub(crate) handler_ns: u64,
    /// All memory the profiler holds, bytes.
    pub(crate) memory_bytes: u64,
    /// Threads sampled now.
    pub(crate) threads: usize,
    /// Threads that got no timer of their own, since start.
    pub(crate) threads_without_timer: u64,
    /// Threads for which there was no room, since start.
    pub(crate) threads_refused: u64,
    /// Ticks that came too late for their thread, since start.
    pub(crate) stale_signals: u64,
    /// SIGPROFs of others that had no handler, since the process began; they were ignored.
    pub(crate) unclaimed_signals: u64,
}

#[pymethods]
impl ProfilerStats {
    fn __repr__(&self) -> String {
        format!(
            "ProfilerStats(collected_samples={}, dropped_samples={}, duration_ms={:.1}, overhead_estimate_pct={:.3}, memory_bytes={}, threads={})",
            self.collected_samples,
            self.dropped_samples,
            self.duration_ms,
            self.overhead_estimate_pct,
            self.memory_bytes,
            self.threads
        )
    }
}

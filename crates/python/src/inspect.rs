//! Looking at this interpreter with our own eyes: what the self-check and the tests compare with what Python says.

use std::sync::OnceLock;

use capture::{Host, LiveMemory};
use interpreter::{Identity, RawFrame, WalkEnd, walk};
use pyo3::exceptions::{PyImportError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A stack deeper than any test's; the walk itself is bounded by it.
const MAX_WALK_FRAMES: usize = 16_384;

/// The interpreter that runs this module, looked up once.
pub(crate) fn host(py: Python<'_>) -> PyResult<Host> {
    static HOST: OnceLock<Host> = OnceLock::new();
    if let Some(host) = HOST.get() {
        return Ok(*host);
    }
    let identity = identity(py)?;
    let found = Host::find(&identity).map_err(|error| PyImportError::new_err(error.to_string()))?;
    Ok(*HOST.get_or_init(|| found))
}

/// Has it found out how this system shows that a thread waits for the GIL, where that must be.
pub(crate) fn learn_gil_wait(py: Python<'_>, host: &Host) {
    #[cfg(windows)]
    {
        let learning = capture::learn_gil_wait(host);
        py.detach(|| learning.finish());
    }
    #[cfg(not(windows))]
    let _ = (py, host);
}

/// What the interpreter says it is, in `sys`.
fn identity(py: Python<'_>) -> PyResult<Identity> {
    let sys = py.import("sys")?;
    let abi_flags: String = match sys.getattr_opt("abiflags")? {
        Some(flags) => flags.extract()?,
        None => String::new(),
    };
    let implementation: String = sys.getattr("implementation")?.getattr("name")?.extract()?;
    Ok(Identity {
        hexversion: sys.getattr("hexversion")?.extract()?,
        free_threaded: abi_flags.contains('t'),
        debug: abi_flags.contains('d'),
        trace_refs: sys.hasattr("getobjects")?,
        is_cpython: implementation == "cpython",
    })
}

/// Raises ImportError, with the reason, where this interpreter's structures are not known to the byte.
#[pyfunction]
pub(crate) fn check_interpreter(py: Python<'_>) -> PyResult<()> {
    host(py).map(|_| ())
}

/// The calling thread's Python stack as the profiler sees it: `(function, file, line)`, innermost first.
#[pyfunction]
pub(crate) fn walk_current_thread(py: Python<'_>) -> PyResult<Vec<(String, String, Option<u32>)>> {
    let host = host(py)?;
    let mut frames = Vec::new();
    let mut unreadable = None;
    let mut visit = |frame: RawFrame| match interpreter::read_code(&LiveMemory, &host.layout, frame.code_address) {
        Ok(code) if code.is_interpreter_shim() || !code.is_begun(frame.instruction_offset_bytes) => {}
        Ok(code) => {
            let line = code.lines.line(frame.instruction_offset_bytes);
            frames.push((code.name, code.filename, line));
        }
        Err(error) => unreadable = Some(error.to_string()),
    };
    // On an interpreter whose structures are not what we think, the walk may lead anywhere.
    let end = capture::with_faults_caught(|| {
        walk(&LiveMemory, &host.layout, host.code_type, host.own_thread_state(), MAX_WALK_FRAMES, &mut |found| {
            found.iter().for_each(|frame| visit(*frame));
        })
    });
    match (unreadable, end) {
        (Some(error), _) => Err(PyRuntimeError::new_err(error)),
        (None, WalkEnd::Complete) => Ok(frames),
        (None, end) => Err(PyRuntimeError::new_err(format!("the stack could not be walked to its end: {end:?}"))),
    }
}

/// The line of each instruction of a code object, by code unit (two bytes), as the profiler decodes it.
#[pyfunction]
pub(crate) fn code_lines(py: Python<'_>, code: &Bound<'_, PyAny>) -> PyResult<(String, String, Vec<Option<u32>>)> {
    let host = host(py)?;
    if code.get_type().as_ptr() as u64 != host.code_type {
        let kind = code.get_type().name().unwrap_or_else(|_| PyString::new(py, "something else"));
        return Err(PyTypeError::new_err(format!("code_lines takes a code object, not {kind}")));
    }
    let address = code.as_ptr() as u64;
    let code = capture::with_faults_caught(|| interpreter::read_code(&LiveMemory, &host.layout, address))
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let lines = (0..code.bytecode_len_bytes).step_by(2).map(|offset| code.lines.line(offset as i32)).collect();
    Ok((code.name, code.filename, lines))
}

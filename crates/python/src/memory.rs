//! Memory that runs out in an operation on a finished profile: MemoryError, and the process goes on.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use capture::Operation;
use profile::room;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

/// MemoryError; `what` is the end of the sentence "There is no memory ...".
pub(crate) fn refused(what: &str) -> PyErr {
    PyMemoryError::new_err(format!("There is no memory {what}"))
}

/// Runs what may need `bytes` at once of memory that cannot be refused half-way. MemoryError if that cannot be had, and then
/// nothing is begun; or if Python has no memory for the result.
pub(crate) fn with_room<T>(py: Python<'_>, what: &str, bytes: usize, run: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let Some(_operation) = Operation::begin(bytes) else { return Err(refused(what)) };
    match catch_unwind(AssertUnwindSafe(run)) {
        // Python's own has no text.
        Ok(Err(error)) if error.is_instance_of::<PyMemoryError>(py) => Err(refused(what)),
        Ok(result) => result,
        Err(panic) if is_refused_object(&*panic) => Err(refused(what)),
        Err(panic) => resume_unwind(panic),
    }
}

/// As [`with_room`], for what gives up detail where memory is refused: the result counts only if none was.
pub(crate) fn with_room_or_nothing<T>(
    py: Python<'_>,
    what: &str,
    bytes: usize,
    run: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    with_room(py, what, bytes, || {
        let result = run();
        if room::is_there(0) { result } else { Err(refused(what)) }
    })
}

/// PyO3 panics where Python has no memory for a list, a tuple or a text.
fn is_refused_object(panic: &(dyn Any + Send)) -> bool {
    panic.downcast_ref::<&str>().is_some_and(|text| *text == "PyObject pointer is null")
}

/// A list of what `make` makes of each thing, as long as there is memory for one more.
pub(crate) fn list<'py, T, V: IntoPyObject<'py>>(
    py: Python<'py>,
    what: &str,
    things: impl IntoIterator<Item = T>,
    mut make: impl FnMut(T) -> PyResult<V>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for thing in things {
        go_on(what)?;
        list.append(make(thing)?)?;
    }
    Ok(list)
}

/// Whether there is memory for one more thing of a long result.
pub(crate) fn go_on(what: &str) -> PyResult<()> {
    if room::is_there(0) { Ok(()) } else { Err(refused(what)) }
}

/// MemoryError if there may be none for a small thing that is made without room of its own.
pub(crate) fn for_one_more(what: &str) -> PyResult<()> {
    if capture::is_low() { Err(refused(what)) } else { Ok(()) }
}

/// A text that grows as long as there is memory.
#[derive(Default)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        PyString::from_bytes(py, &self.0)
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let has_grown = self.0.try_reserve(bytes.len()).is_ok();
        // The room is the writer's, which was asked for without the text.
        if !has_grown || !room::is_there(0) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

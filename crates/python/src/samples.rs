//! `Profile.samples`: a sequence that makes a sample when it is asked for one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use profile::{Chronology, NodeId};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice, PyTuple};

use crate::memory;
use crate::values::{Frame, Sample};

const WHAT: &str = "for the samples";

/// A profile with what is made of it on demand.
pub(crate) struct Recorded {
    pub(crate) profile: profile::Profile,
    chronology: OnceLock<Chronology>,
    /// The frames of stacks that were asked for: a stack is one tuple, however many samples have it.
    stacks: Mutex<HashMap<NodeId, Py<PyTuple>>>,
}

impl Recorded {
    pub(crate) fn new(profile: profile::Profile) -> Self {
        Self { profile, chronology: OnceLock::new(), stacks: Mutex::new(HashMap::new()) }
    }

    fn chronology(&self, py: Python<'_>) -> PyResult<&Chronology> {
        if let Some(chronology) = self.chronology.get() {
            return Ok(chronology);
        }
        memory::with_room(py, WHAT, self.profile.view_bytes(), || {
            Ok(self.chronology.get_or_init(|| self.profile.chronology()))
        })
    }

    /// The frames of a stack, root first.
    pub(crate) fn frames(&self, py: Python<'_>, leaf: NodeId) -> PyResult<Py<PyTuple>> {
        let known = || self.stacks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(frames) = known().get(&leaf) {
            return Ok(frames.clone_ref(py));
        }
        let profile = &self.profile;
        let frames = profile.tree.frames(leaf).map(|(function, line)| {
            memory::go_on("for the frames of a stack")?;
            let function = profile.functions.get(function);
            let name = profile.strings.get(function.name).to_owned();
            let file = profile.strings.get(function.file).to_owned();
            Bound::new(py, Frame::new(name, file, line, function.is_native))
        });
        // Made outside the lock: allocating objects may run the garbage collector and with it any code.
        let frames = PyTuple::new(py, frames.collect::<PyResult<Vec<_>>>()?)?.unbind();
        let mut stacks = known();
        // It is there for those who ask again, and can be made again.
        if stacks.try_reserve(1).is_ok() {
            stacks.insert(leaf, frames.clone_ref(py));
        }
        drop(stacks);
        Ok(frames)
    }

    fn sample(&self, py: Python<'_>, index: usize) -> PyResult<Option<Sample>> {
        memory::for_one_more(WHAT)?;
        let Some((thread, sample)) = self.profile.sample_at(self.chronology(py)?, index) else { return Ok(None) };
        let Some(thread) = self.profile.threads.get(thread.index()) else { return Ok(None) };
        Ok(Some(Sample {
            timestamp_ns: sample.timestamp_ns,
            thread_id: thread.native_id,
            thread_name: thread.name.clone(),
            frames: self.frames(py, sample.leaf)?,
            wall_ns: sample.wall_ns,
            cpu_ns: sample.cpu_ns,
            state: sample.state.to_string(),
        }))
    }
}

/// The samples of a profile in the order of time.
#[pyclass(frozen, sequence, module = "spprof")]
pub(crate) struct Samples {
    pub(crate) recorded: Arc<Recorded>,
}

#[derive(FromPyObject)]
enum Index<'py> {
    One(isize),
    Slice(Bound<'py, PySlice>),
}

#[pymethods]
impl Samples {
    fn __len__(&self) -> usize {
        self.recorded.profile.threads.iter().map(|thread| thread.timeline.len()).sum()
    }

    fn __getitem__(&self, py: Python<'_>, index: Index<'_>) -> PyResult<Py<PyAny>> {
        let length = self.__len__();
        match index {
            Index::One(index) => {
                let position = if index < 0 { index + length as isize } else { index };
                let sample = match usize::try_from(position) {
                    Ok(position) => self.recorded.sample(py, position)?,
                    Err(_) => None,
                };
                match sample {
                    Some(sample) => Ok(Py::new(py, sample)?.into_any()),
                    None => Err(PyIndexError::new_err("sample index out of range")),
                }
            }
            Index::Slice(slice) => {
                let range = slice.indices(length as isize)?;
                let list = PyList::empty(py);
                for step in 0..range.slicelength as isize {
                    let position = (range.start + step * range.step) as usize;
                    if let Some(sample) = self.recorded.sample(py, position)? {
                        list.append(Py::new(py, sample)?)?;
                    }
                }
                Ok(list.into_any().unbind())
            }
        }
    }

    fn __iter__(&self) -> SampleIterator {
        SampleIterator { recorded: Arc::clone(&self.recorded), next: 0 }
    }

    fn __repr__(&self) -> String {
        format!("<{} samples>", self.__len__())
    }
}

/// Goes through the samples one by one.
#[pyclass(module = "spprof")]
pub(crate) struct SampleIterator {
    recorded: Arc<Recorded>,
    next: usize,
}

#[pymethods]
impl SampleIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Sample>> {
        let sample = self.recorded.sample(py, self.next)?;
        self.next += 1;
        Ok(sample)
    }
}

//! What `spprof doctor` reports.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::inspect::{host, learn_gil_wait};

/// What this interpreter and system allow, by topic, one sentence each, and under `"problems"` what stands in the way of
/// profiling; an empty list when nothing does.
#[pyfunction]
pub(crate) fn doctor(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let report = PyDict::new(py);
    let mut problems = Vec::new();
    match host(py) {
        Ok(host) => {
            report.set_item("interpreter", host.layout.describe())?;
            learn_gil_wait(py, &host);
        }
        Err(error) => problems.push(error.value(py).to_string()),
    }
    let system = py.detach(capture::examine_system);
    for (topic, finding) in &system.findings {
        report.set_item(*topic, finding)?;
    }
    problems.extend(system.problems);
    report.set_item("problems", problems)?;
    Ok(report)
}

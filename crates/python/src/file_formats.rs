//! What the Python side knows of file formats.

use std::path::PathBuf;

use ::formats::Format;

/// Every file format: its name, the endings of file names that mean it, whether `Profile.load` takes it, and what opens it.
#[pyo3::pyfunction]
pub(crate) fn formats() -> Vec<(&'static str, Vec<&'static str>, bool, &'static str)> {
    let row = |format: Format| (format.name(), format.extensions().to_vec(), format.can_read(), format.opened_by());
    Format::ALL.into_iter().map(row).collect()
}

/// The name of the format that a file gets which is saved without one: as its name says, else speedscope.
#[pyo3::pyfunction]
pub(crate) fn format_of(path: PathBuf) -> &'static str {
    Format::from_path(&path).unwrap_or(Format::Speedscope).name()
}

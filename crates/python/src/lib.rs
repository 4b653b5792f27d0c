//! The extension module `spprof._native`: Python's values to ours and back. No logic of its own.

mod clock_view;
mod control;
mod doctor;
mod file_formats;
mod inspect;
mod memory;
mod notebook;
mod profile_class;
mod samples;
mod save;
mod values;
mod views;

#[global_allocator]
static ALLOCATOR: capture::Allocator = capture::Allocator;

/// The native half of spprof; `spprof` is the public package.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::clock_view::View;
    #[pymodule_export]
    use crate::control::{
        collection_changed, is_active, name_thread, pause, register_thread, resume, snapshot, start, stats, stop,
        thread_ended, thread_started, unregister_thread,
    };
    #[pymodule_export]
    use crate::doctor::doctor;
    #[pymodule_export]
    use crate::file_formats::{format_of, formats};
    #[pymodule_export]
    use crate::inspect::{check_interpreter, code_lines, walk_current_thread};
    #[pymodule_export]
    use crate::profile_class::Profile;
    #[pymodule_export]
    use crate::samples::{SampleIterator, Samples};
    #[pymodule_export]
    use crate::values::{Frame, FunctionTotals, ProfilerStats, Sample, StackTotals, Thread};
    #[pymodule_export]
    use crate::views::{ActivityTotals, Call, FunctionDifference, LineTotals, ProfileDifference};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        profile::room::set_answer(capture::has_room);
        let clocks = profile::Clock::ALL.map(|clock| clock.label().to_ascii_lowercase());
        module.add("CLOCKS", pyo3::types::PyTuple::new(module.py(), clocks)?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

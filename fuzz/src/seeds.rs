//! A small file of every format: what the fuzzer of the readers begins with. A new format is among them by itself.

use std::path::PathBuf;

use formats::{Format, WriteOptions, write};

#[path = "../../crates/formats/tests/formats/sample.rs"]
#[allow(dead_code)]
mod sample;

/// Writes them into the folder that the environment names, if it does.
pub(crate) fn write_where_asked() {
    let Some(folder) = std::env::var_os("SPPROF_FUZZ_SEEDS").map(PathBuf::from) else { return };
    for format in Format::ALL {
        for (lines, thread_roots) in [(false, false), (true, true)] {
            let options = WriteOptions { lines, thread_roots, ..WriteOptions::default() };
            let path = folder.join(format!("{}-{}", format.name(), u8::from(lines)));
            std::fs::write(path, file(format, &options)).expect("the folder is ours");
        }
    }
}

/// The sample in that format.
pub(crate) fn file(format: Format, options: &WriteOptions) -> Vec<u8> {
    let mut file = Vec::new();
    write(&sample::profile(), format, options, &mut file).expect("a vector takes everything");
    file
}

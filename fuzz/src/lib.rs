//! What the fuzz targets share: fake memory of every build of CPython, and input taken apart.

#[path = "../../crates/interpreter/tests/builds/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "../../crates/interpreter/tests/builds/image.rs"]
#[allow(dead_code)]
mod image;
pub mod input;
#[path = "../../crates/interpreter/tests/builds/plain_walk.rs"]
mod plain_walk;
pub mod scene;

use interpreter::Identity;

/// What every build says it is, and the words of its table of offsets.
pub fn tables() -> Vec<(Identity, Vec<u64>)> {
    build::all().iter().map(|build| (build.identity(), build.debug_offsets())).collect()
}

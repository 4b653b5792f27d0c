//! Code objects with their strings and tables, on memory that says anything: read or refused, never more than they may be.
#![no_main]

use std::sync::LazyLock;

use interpreter::read_code;
use libfuzzer_sys::fuzz_target;
use spprof_fuzz::input::Input;
use spprof_fuzz::scene::Builds;

static BUILDS: LazyLock<Builds> = LazyLock::new(Builds::default);

/// Characters of a name, and the mark of one that was cut.
const MAX_NAME_CHARACTERS: usize = (64 << 10) + 1;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let offset = i32::from(input.short() as i16);
    let scene = BUILDS.scene(&mut input);
    if let Ok(code) = read_code(&scene, &scene.layout, scene.code) {
        assert!(code.name.chars().count() <= MAX_NAME_CHARACTERS);
        assert!(code.filename.chars().count() <= MAX_NAME_CHARACTERS);
        code.is_begun(offset);
        code.is_interpreter_shim();
        code.lines.line(offset);
        assert_eq!(code.lines.line(i32::MAX), None, "behind the code there is no line");
    }
});

//! Code objects of every build.

use interpreter::{ReadError, read_code};

use crate::build::{self, Build};
use crate::image::{Code, Image};

/// Two instructions of line 11 and two of line 13, as the build writes it, of code that begins at line 10.
#[expect(clippy::unusual_byte_groupings, reason = "grouped by the fields of an entry")]
fn line_table(build: &Build) -> &'static [u8] {
    match build.minor() {
        9 => &[0, 1, 4, 2],
        10 => &[4, 1, 4, 2],
        _ => &[0b1_1011_001, 0, 0, 0b1_1100_001, 0, 0],
    }
}

fn code<'a>(build: &Build, name: &'a str, filename: &'a str) -> Code<'a> {
    Code { name, filename, first_line: 10, line_table: line_table(build), units: 4, first_traceable_units: 1 }
}

#[test]
fn names_file_and_lines() {
    for build in build::all() {
        for (name, filename) in [("Class.method", "/srv/app.py"), ("café", "/Москва/f.py"), ("𝔘ne", "😀.py"), ("", "")]
        {
            let mut image = Image::new(&build);
            let address = image.put_code(&code(&build, name, filename));
            let read = read_code(&image, &build.layout(), address).expect(build.name);
            assert_eq!((read.name.as_str(), read.filename.as_str()), (name, filename), "{}", build.name);
            assert_eq!((read.first_line, read.bytecode_len_bytes), (10, 8), "{}", build.name);
            let lines = [-2, 0, 2, 4, 6, 8].map(|offset| read.lines.line(offset));
            assert_eq!(lines, [Some(10), Some(11), Some(11), Some(13), Some(13), None], "{}", build.name);
        }
    }
}

#[test]
fn begun_as_tracebacks_have_it() {
    for build in build::all() {
        let mut image = Image::new(&build);
        let address = image.put_code(&code(&build, "f", "f.py"));
        let read = read_code(&image, &build.layout(), address).expect(build.name);
        let is_hidden_before_first_traceable = build.minor() >= 11;
        assert_eq!(read.is_begun(-2), !is_hidden_before_first_traceable, "{}", build.name);
        assert_eq!(read.is_begun(0), !is_hidden_before_first_traceable, "{}", build.name);
        assert!(read.is_begun(2), "{}", build.name);
        assert!(!read.is_interpreter_shim(), "{}", build.name);
    }
}

/// The code below a specialised `Class()` is told by what it is, not by its name, which user code may have as well.
#[test]
fn the_fake_init_frame_is_a_shim() {
    for build in build::all().into_iter().filter(|build| build.minor() >= 13) {
        let mut image = Image::new(&build);
        let fake = Code { units: 3, first_traceable_units: 4, ..code(&build, "__init__", "__init__") };
        let fake = image.put_code(&fake);
        let real = image.put_code(&code(&build, "__init__", "__init__"));
        let read = |address| read_code(&image, &build.layout(), address).expect(build.name);
        assert!(read(fake).is_interpreter_shim() && !read(fake).is_begun(4), "{}", build.name);
        assert!(!read(real).is_interpreter_shim(), "{}", build.name);
    }
}

#[test]
fn code_made_by_hand_may_begin_below_line_zero() {
    for build in build::all() {
        let mut image = Image::new(&build);
        let address = image.put_code(&Code { first_line: -10, ..code(&build, "f", "f.py") });
        let read = read_code(&image, &build.layout(), address).expect(build.name);
        assert_eq!((read.first_line, read.lines.line(0)), (0, None), "{}", build.name);
    }
}

#[test]
fn what_is_no_code_object_is_an_error() {
    for build in build::all() {
        let error = |damage: &dyn Fn(&mut Image<'_>, u64)| {
            let mut image = Image::new(&build);
            let address = image.put_code(&code(&build, "f", "f.py"));
            damage(&mut image, address);
            read_code(&image, &build.layout(), address).expect_err(build.name)
        };
        let unmapped = error(&|image, address| image.put_word(address + build.fact("code.filename"), 0));
        assert_eq!(unmapped, ReadError::Fault, "{}", build.name);
        let not_text = error(&|image, address| {
            let file = image.words[&(address + build.fact("code.filename"))];
            image.put_int(file + build.fact("unicode.state"), 7 << build.fact("unicode.kind_bit"));
        });
        assert_eq!(not_text, ReadError::NotText, "{}", build.name);
        let size = error(&|image, address| {
            let table = image.words[&(address + build.fact("code.line_table"))];
            image.put_word(table + build.fact("bytes.ob_size"), u64::MAX);
        });
        assert_eq!(size, ReadError::Size, "{}", build.name);
    }
}

#[test]
fn bytecode_larger_than_an_instruction_s_offset_can_be() {
    for build in build::all() {
        let refused = |len_bytes: u64| {
            let mut image = Image::new(&build);
            let address = image.put_code(&code(&build, "f", "f.py"));
            match build.optional("code.first_traceable") {
                Some(_) => image.put_word(address + build.fact("object.ob_size"), len_bytes / 2),
                None => {
                    let bytecode = image.words[&(address + build.fact("code.bytecode"))];
                    image.put_word(bytecode + build.fact("object.ob_size"), len_bytes);
                }
            }
            read_code(&image, &build.layout(), address).err()
        };
        assert_eq!(refused((1 << 31) - 2), None, "{}", build.name);
        for len_bytes in [1 << 31, 1 << 32, u64::MAX - 1] {
            assert_eq!(refused(len_bytes), Some(ReadError::Size), "{}", build.name);
        }
    }
}

//! Every reader of files on every content: an error of one sentence, or a profile that every writer can write and that its
//! own reader reads again.
#![no_main]

use std::sync::LazyLock;

use formats::{Format, WriteOptions, read, write};
use libfuzzer_sys::fuzz_target;

#[path = "../src/seeds.rs"]
mod seeds;

/// Formats that are for machines: a page for people can only be written.
static READABLE: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let can_be_read = |format: &Format| read(&seeds::file(*format, &WriteOptions::default()), Some(*format)).is_ok();
    let readable: Vec<Format> = Format::ALL.into_iter().filter(can_be_read).collect();
    assert!(readable.len() >= 2, "our own files can be read");
    readable
});

fn survives(content: &[u8], format: Option<Format>) {
    match read(content, format) {
        Ok(profile) => {
            for format in Format::ALL {
                let mut file = Vec::new();
                write(&profile, format, &WriteOptions::default(), &mut file).expect("a vector takes everything");
                let is_read = read(&file, Some(format)).is_ok();
                assert!(is_read || !READABLE.contains(&format), "what we write we read");
            }
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.contains(char::is_control) && (1..400).contains(&sentence.chars().count()), "{sentence}");
        }
    }
}

fuzz_target!(init: seeds::write_where_asked(), |data: &[u8]| {
    survives(data, None);
    for format in Format::ALL {
        survives(data, Some(format));
    }
});

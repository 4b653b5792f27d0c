//! Every reader of files on every content: an error of one sentence, or a profile that every writer can write and that its
//! own reader reads again.
#![no_main]

use formats::{Format, WriteOptions, read, write};
use libfuzzer_sys::fuzz_target;

#[path = "../src/seeds.rs"]
mod seeds;

fn survives(content: &[u8], format: Option<Format>) {
    match read(content, format) {
        Ok(profile) => {
            for format in Format::ALL {
                let mut file = Vec::new();
                write(&profile, format, &WriteOptions::default(), &mut file).expect("a vector takes everything");
                read(&file, Some(format)).expect("what we write we read");
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

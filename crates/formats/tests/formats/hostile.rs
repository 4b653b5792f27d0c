//! Files that were not made to be read.

use formats::{Format, WriteOptions, read, write};
use proptest::prelude::*;

use crate::sample;

fn valid(format: Format) -> Vec<u8> {
    let mut file = Vec::new();
    write(&sample::profile(), format, &WriteOptions::default(), &mut file).expect("a vector takes everything");
    file
}

fn readable() -> Vec<Format> {
    Format::ALL.into_iter().filter(|format| format.can_read()).collect()
}

/// Reading either fails with a sentence or gives a profile that can be written.
fn survives(content: &[u8]) {
    for format in readable() {
        match read(content, Some(format)) {
            Ok(profile) => {
                for format in Format::ALL {
                    let lines = content.len().is_multiple_of(2);
                    let options = WriteOptions { lines, thread_roots: lines, ..WriteOptions::default() };
                    write(&profile, format, &options, &mut std::io::sink()).expect("a sink takes everything");
                }
            }
            Err(error) => {
                let sentence = error.to_string();
                assert!(
                    !sentence.contains(char::is_control) && (1..400).contains(&sentence.chars().count()),
                    "{sentence}"
                );
            }
        }
    }
}

#[test]
fn files_cut_short() {
    for format in readable() {
        let file = valid(format);
        for end in 0..file.len() {
            survives(&file[..end]);
        }
    }
}

#[test]
fn what_is_only_to_be_looked_at_is_not_read() {
    for format in Format::ALL.into_iter().filter(|format| !format.can_read()) {
        let error = read(&valid(format), Some(format)).expect_err("nobody reads it");
        let name = format.name();
        assert_eq!(error.to_string(), format!("a file of the format {name} is to be looked at: it cannot be read"));
    }
}

#[test]
fn a_stack_of_very_many_frames() {
    let frames = vec!["0"; 200_000].join(",");
    let text = format!(
        r#"{{"shared":{{"frames":[{{"name":"f"}}]}},"profiles":[{{"type":"sampled","name":"t","unit":"none","samples":[[{frames}]],"weights":[5]}}]}}"#
    );
    let profile = read(text.as_bytes(), None).expect("it is valid");
    assert_eq!(profile.function_totals(profile::Clock::Wall)[0].total.wall_ns, 5);
    let mut collapsed = Vec::new();
    write(&profile, Format::Collapsed, &WriteOptions::default(), &mut collapsed).expect("a vector takes everything");
    let back = read(&collapsed, None).expect("it is valid");
    assert_eq!(back.tree.len(), 200_001);
    survives(text.as_bytes());
}

#[test]
fn an_entry_that_stands_for_no_sample() {
    let file = String::from_utf8(valid(Format::Speedscope)).expect("JSON is UTF-8");
    let at = file.find("\"is_main\":true").expect("a thread is the main one");
    let counts = at + file[at..].find("\"samples\":[").expect("some entries stand for several") + 11;
    let changed = format!("{}0{}", &file[..counts], &file[counts + 1..]);
    let profile = read(changed.as_bytes(), None).expect("the rest is valid");
    assert!(profile.threads[0].timeline.iter().all(|sample| sample.count > 0));
    survives(changed.as_bytes());
}

#[test]
fn brackets_without_end() {
    survives(&vec![b'['; 1_000_000]);
    survives(format!("{{\"other\":{}", "[".repeat(1_000_000)).as_bytes());
    survives(format!("{{\"profiles\":{}", "[".repeat(1_000_000)).as_bytes());
    survives(format!("{{\"spprof\":{}", "{\"a\":".repeat(1_000_000)).as_bytes());
}

#[test]
fn long_and_broken_texts_where_others_belong() {
    let text = "x\\n\\u001b".repeat(100_000);
    survives(format!(r#"{{"shared": {{"frames": [{{"name": "f", "line": "{text}"}}]}}}}"#).as_bytes());
    survives(format!(r#"{{"profiles": [{{"unit": "{text}"}}]}}"#).as_bytes());
    survives(format!(r#"{{"shared": {{"frames": []}}, "profiles": [{{"name": "{text}"}}]}}"#).as_bytes());
    survives(format!("a;b {}", "9".repeat(1_000_000)).as_bytes());
    survives(format!("a;b {}", "\u{1b}\u{2028}".repeat(1_000)).as_bytes());
}

#[test]
fn a_full_disk_is_reported() {
    struct Full;

    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    for format in Format::ALL {
        let error = write(&sample::profile(), format, &WriteOptions::default(), &mut Full).expect_err("it is full");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes(content in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&content);
    }

    #[test]
    fn valid_files_with_changes(
        format in prop::sample::select(readable()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"0159-.eE\"[]{},: ;\nOC\\\xff".to_vec())), 1..6),
    ) {
        let mut file = valid(format);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        survives(&file);
    }
}

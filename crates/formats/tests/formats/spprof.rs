//! Our own format.

use formats::{Format, Reading, WriteOptions, read, read_with_remarks, write};
use profile::{NodeId, Profile, Recording};
use proptest::prelude::*;

use crate::generated::{any_profile, assert_same, assert_same_names};
use crate::sample;

fn written(profile: &Profile) -> Vec<u8> {
    let mut file = Vec::new();
    write(profile, Format::Spprof, &WriteOptions::default(), &mut file).expect("a vector takes everything");
    file
}

/// Where the file's chunks begin, and its end.
fn boundaries(file: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![12];
    while let Some(header) = file.get(boundaries[boundaries.len() - 1]..).filter(|rest| !rest.is_empty()) {
        let packed = u32::from_le_bytes(header[4..8].try_into().expect("four bytes")) as usize;
        boundaries.push(boundaries[boundaries.len() - 1] + 16 + packed);
    }
    boundaries
}

/// Reads a beginning of a file of `profile` and checks that what is there is right.
fn check_cut(profile: &Profile, file: &[u8], end: usize, boundaries: &[usize]) {
    let cut = read_with_remarks(&file[..end], Some(Format::Spprof));
    if end < boundaries[1] {
        cut.expect_err("the head is not there");
        return;
    }
    let Reading { profile: part, remarks } = cut.expect("the head is there");
    assert_eq!(part.info.start, profile.info.start);
    assert_eq!(part.counters, profile.counters);
    assert_same_names(&part, profile);
    let mut samples = 0;
    for (part, whole) in part.threads.iter().zip(&profile.threads) {
        assert!(part.timeline.iter().eq(whole.timeline.iter().take(part.timeline.len())), "what is there is right");
        samples += part.timeline.len();
    }
    if end == file.len() {
        assert_same(&part, profile);
        assert!(remarks.is_empty(), "{remarks:?}");
        return;
    }
    let recorded = profile.counters.samples;
    let (what, at) = match boundaries.iter().rev().find(|&&boundary| boundary <= end) {
        Some(&boundary) if boundary == end => ("ends before its end", end),
        Some(&boundary) => ("is cut short", boundary),
        None => unreachable!("the first boundary is below every end"),
    };
    let expected =
        format!("the file {what} at byte {at}: {samples} samples could be read up to there, of {recorded} recorded");
    assert_eq!(remarks, [expected]);
}

#[test]
fn a_file_cut_at_every_byte_is_read_up_to_there() {
    let profile = sample::profile();
    let file = written(&profile);
    let boundaries = boundaries(&file);
    assert_eq!(boundaries.last(), Some(&file.len()));
    (0..=file.len()).for_each(|end| check_cut(&profile, &file, end, &boundaries));
}

#[test]
fn samples_are_in_the_file_in_the_order_of_time_across_threads() {
    let mut recording = Recording::without_limit(sample::info());
    let threads = ["a", "b"].map(|name| sample::thread(&mut recording, name, 0));
    for number in 0..20_000 {
        let leaf = sample::stack(&mut recording, &[("f", number)]);
        sample::record(&mut recording, threads[0], leaf, 10, 10);
        sample::record(&mut recording, threads[1], leaf, 10, 0);
    }
    let profile = sample::finish(recording);
    let file = written(&profile);
    let boundaries = boundaries(&file);
    // Cut in the middle, both threads are there to about the same time, with the names that these samples need.
    let middle = file.len() / 2;
    check_cut(&profile, &file, middle, &boundaries);
    let part = read(&file[..middle], None).expect("the head is there");
    let counts = [0, 1].map(|thread| part.threads[thread].timeline.len());
    assert!(counts.iter().all(|&count| (4096..=16_384).contains(&count)), "{counts:?}");
    assert!(counts[0].abs_diff(counts[1]) <= 4096, "{counts:?}");
}

#[test]
fn it_is_compact() {
    let mut recording = Recording::without_limit(sample::info());
    let main = sample::thread(&mut recording, "MainThread", 1);
    // Weights of a real clock: nearly the interval, a few microseconds to either side.
    let mut noise = 1u64;
    for number in 0..100_000u32 {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let leaf = sample::stack(&mut recording, &[("f", number % 7), ("g", number % 3)]);
        sample::record(&mut recording, main, leaf, 10_000_000 + (noise >> 50), 10_000_000 + (noise >> 52));
    }
    let length = written(&sample::finish(recording)).len();
    assert!(length < 500_000, "{length} bytes for 100,000 samples");
}

#[test]
fn bytes_that_follow_are_said() {
    let mut file = written(&sample::profile());
    file.extend_from_slice(b"12345");
    let Reading { profile, remarks } = read_with_remarks(&file, None).expect("the profile is whole");
    assert_same(&profile, &sample::profile());
    assert_eq!(remarks, ["5 bytes follow the end of the profile and were not read"]);
}

/// A chunk as any producer could make it.
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    use std::io::Write;

    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("a vector takes everything");
    let packed = encoder.finish().expect("a vector takes everything");
    let mut chunk = kind.to_vec();
    chunk.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    chunk.extend_from_slice(&(content.len() as u32).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&chunk);
    hasher.update(&packed);
    chunk.extend_from_slice(&hasher.finalize().to_le_bytes());
    chunk.extend_from_slice(&packed);
    chunk
}

/// A file with `added` behind its head.
fn with_chunk(added: &[u8]) -> Vec<u8> {
    let file = written(&sample::profile());
    let at = boundaries(&file)[1];
    [&file[..at], added, &file[at..]].concat()
}

#[test]
fn kinds_of_later_versions() {
    let reading = read_with_remarks(&with_chunk(&chunk(b"tags", b"what is to come")), None).expect("it may be missed");
    assert_same(&reading.profile, &sample::profile());
    assert!(reading.remarks.is_empty());
    let error = read(&with_chunk(&chunk(b"Tags", b"")), None).expect_err("it may not be missed");
    assert!(error.to_string().contains("part Tags at byte"), "{error}");
    assert!(error.to_string().ends_with("take a newer one"), "{error}");
}

#[test]
fn a_newer_version_is_refused() {
    let mut file = written(&sample::profile());
    file[8] = 2;
    let error = read(&file, None).expect_err("it is of version 2");
    assert_eq!(
        error.to_string(),
        "the file is of version 2 of the .spprof format, and this spprof reads up to 1: take a newer spprof"
    );
    file[8] = 0;
    read(&file, None).expect_err("there was no version 0");
}

#[test]
fn damage_is_said_and_what_lies_before_it_is_read() {
    let file = written(&sample::profile());
    let boundaries = boundaries(&file);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut file = file.clone();
            file[at] ^= 1 << bit;
            match read_with_remarks(&file, Some(Format::Spprof)) {
                Err(_) => assert!(at < boundaries[1], "byte {at} is behind the head"),
                Ok(reading) => {
                    assert_eq!(reading.remarks.len(), 1, "byte {at}, bit {bit}");
                    let begin = boundaries.iter().rev().find(|&&boundary| boundary <= at).expect("the first is 12");
                    assert!(reading.remarks[0].contains(&format!("at byte {begin}:")), "{} {at}", reading.remarks[0]);
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_is_one_sentence() {
    let cases: [(&[u8; 4], &[u8], &str); 12] = [
        (b"HEAD", b"{}", "does not know what it means"),
        (b"TEXT", b"\x05abc", "ends before what it announces"),
        (b"TEXT", b"\x01\xff", "not UTF-8"),
        (b"FUNC", b"\x00\x09\x00\x00", "it names string 9, but up to there the file has 1 from 0 on"),
        (b"FUNC", b"\x00\x00\xff\xff\xff\xff\x7f\x00", "too large"),
        (b"NODE", b"\x01\x01\x00", "it names function 1, but up to there the file has 1 from 0 on"),
        (b"NODE", b"\x00\x01\x00", "the parent of node 1"),
        (b"NODE", b"\x02\x01\x00", "the parent of node 1"),
        (b"SAMP", b"\x00\x00\x00\x00", "it names thread 0"),
        (b"THRD", b"\x00\x01\x01\x01\x01\x01", "ends before"),
        (b"ARGV", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more than 64 bits"),
        (b"DONE", b"\x05", "it announces 5 samples and holds 0"),
    ];
    for (kind, content, sentence) in cases {
        let error = read(&with_chunk(&chunk(kind, content)), None).expect_err("it cannot be").to_string();
        assert!(error.contains(sentence), "{error}");
    }
    // Behind a thread: name, ids, start, end, folded, flags.
    let thread = chunk(b"THRD", b"\x00\x00\x00\x00\x00\x00\x00");
    let cases: [(&[u8], &str); 6] = [
        (b"\x00\xff\xff\x7f\x00", "more samples than any part"),
        (b"\x00\x01\x00\x02\x00\x01\x01\x00", "it names node 1"),
        (b"\x00\x01\x00\x01\x00\x01\x01\x00", "it names node 18446744073709551615"),
        (b"\x00\x01\x01\x00\x00\x01\x01\x00\x00", "stands for no sample"),
        (b"\x00\x00\x00\x01\x01\x05", "goes on behind its end"),
        (b"\x00\x00\x00\x02\x00\x05\x00\x05", "more gaps than samples"),
    ];
    for (content, sentence) in cases {
        let error = read(&with_chunk(&[thread.clone(), chunk(b"SAMP", content)].concat()), None);
        let error = error.expect_err("it cannot be").to_string();
        assert!(error.contains(sentence), "{content:?}: {error}");
    }
}

#[test]
fn a_profile_without_samples() {
    let file = written(&sample::empty());
    assert_same(&read(&file, None).expect("it is valid"), &sample::empty());
    let mut recording = Recording::without_limit(sample::info());
    let idle = sample::thread(&mut recording, "idle", 3);
    recording.skip_to(idle, 2_000_000_000);
    let profile = sample::finish(recording);
    assert_eq!(profile.tree.ids().next_back(), Some(NodeId::ROOT));
    assert_same(&read(&written(&profile), None).expect("it is valid"), &profile);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_what_is_read(profile in any_profile()) {
        let reading = read_with_remarks(&written(&profile), None).expect("it is valid");
        assert_same(&reading.profile, &profile);
        prop_assert!(reading.remarks.is_empty());
    }

    #[test]
    fn a_cut_leaves_what_came_before(profile in any_profile(), at in any::<prop::sample::Index>()) {
        let file = written(&profile);
        let end = at.index(file.len());
        check_cut(&profile, &file, end, &boundaries(&file));
    }
}

//! pprof files.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use formats::{Format, Reading, WriteOptions, read, read_with_remarks, write};
use profile::{Clock, Profile, State};
use proptest::prelude::*;

use crate::generated::{any_profile, assert_same_but_samples};
use crate::sample;

fn written(profile: &Profile, clock: Option<Clock>) -> Vec<u8> {
    let mut file = Vec::new();
    let options = WriteOptions { clock, ..WriteOptions::default() };
    write(profile, Format::Pprof, &options, &mut file).expect("a vector takes everything");
    file
}

fn unpacked(file: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    GzDecoder::new(file).read_to_end(&mut content).expect("it is gzip");
    content
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

/// One field of a message: its number, and a number or bytes.
#[derive(Clone)]
enum Field<'a> {
    Number(u32, u64),
    Bytes(u32, &'a [u8]),
}
use Field::{Bytes, Number};

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn message(fields: &[Field<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Number(number, value) => bytes.extend([varint(u64::from(number << 3)), varint(*value)].concat()),
            Bytes(number, content) => {
                bytes.extend([varint(u64::from(number << 3 | 2)), varint(content.len() as u64)].concat());
                bytes.extend_from_slice(content);
            }
        }
    }
    bytes
}

/// A profile as another producer would write it: the types of its values, and samples of (locations leaf first, values).
fn foreign(types: &[(&str, &str)], samples: &[(&[u64], &[u64])], more: &[Field<'_>]) -> Vec<u8> {
    let mut strings = vec!["", "main", "work", "inlined", "/go/main.go", "thread", "worker"];
    let mut file = Vec::new();
    for (kind, unit) in types {
        let at = strings.len() as u64;
        strings.extend([kind, unit]);
        file.extend(message(&[Bytes(1, &message(&[Number(1, at), Number(2, at + 1)]))]));
    }
    for (locations, values) in samples {
        // Not packed, as some write them.
        let mut fields: Vec<_> = locations.iter().map(|&id| Number(1, id)).collect();
        fields.extend(values.iter().map(|&value| Number(2, value)));
        let label = message(&[Number(1, 5), Number(2, 6)]);
        let labelled = [message(&fields), message(&[Bytes(3, &label)])].concat();
        file.extend(message(&[Bytes(2, &labelled)]));
    }
    let line = |function, line| message(&[Number(1, function), Number(2, line)]);
    // 1: main; 2: `inlined` into `work`; 3: no symbol.
    let locations = [
        message(&[Number(1, 1), Bytes(4, &line(1, 10))]),
        message(&[Number(1, 2), Bytes(4, &line(3, 30)), Bytes(4, &line(2, 20))]),
        message(&[Number(1, 3), Number(3, 0xabc)]),
    ];
    locations.iter().for_each(|location| file.extend(message(&[Bytes(4, location)])));
    for (id, name) in [(1, 1), (2, 2), (3, 3)] {
        file.extend(message(&[Bytes(5, &message(&[Number(1, id), Number(2, name), Number(4, 4), Number(5, id)]))]));
    }
    file.extend(message(more));
    strings.iter().for_each(|text| file.extend(message(&[Bytes(6, text.as_bytes())])));
    file
}

/// Stacks as `main;work 5`, with CPU and wall time.
fn stacks(profile: &Profile) -> Vec<(String, u64, u64, u64)> {
    let name = |(function, line)| {
        let name = profile.strings.get(profile.functions.get(function).name);
        format!("{name}:{line}")
    };
    let samples = profile.threads.iter().flat_map(|thread| thread.timeline.iter());
    samples
        .map(|sample| {
            let stack: Vec<_> = profile.tree.frames(sample.leaf).map(name).collect();
            (stack.join(";"), sample.count, sample.cpu_ns, sample.wall_ns)
        })
        .collect()
}

#[test]
fn a_profile_of_go() {
    let file = foreign(
        &[("samples", "count"), ("cpu", "nanoseconds")],
        &[(&[2, 1], &[3, 30]), (&[1], &[2, 20]), (&[3, 1], &[1, 10])],
        &[Number(9, 1_700_000_000_000_000_000), Number(10, 5_000_000_000)],
    );
    for file in [packed(&file), file] {
        let Reading { profile, remarks } = read_with_remarks(&file, None).expect("it is valid");
        assert!(remarks.is_empty(), "{remarks:?}");
        let expected = [("main:10;work:20;inlined:30", 3, 30), ("main:10", 2, 20), ("main:10;0xabc:0", 1, 10)];
        assert_eq!(stacks(&profile), expected.map(|(stack, count, cpu_ns)| (stack.to_owned(), count, cpu_ns, 0)));
        assert_eq!(profile.threads.len(), 1);
        assert_eq!(profile.threads[0].name, "worker");
        assert_eq!(profile.duration_ns(), 5_000_000_000);
        assert_eq!(profile.info.start.unix_ns, 1_700_000_000_000_000_000);
        let id = profile.functions.ids().next().expect("there are some");
        assert_eq!(profile.strings.get(profile.functions.get(id).file), "/go/main.go");
        assert_eq!(profile.functions.get(id).first_line, 1);
    }
}

#[test]
fn times_by_unit_and_name() {
    let of = |types: &[(&str, &str)], values: &[u64]| {
        let Reading { profile, remarks } =
            read_with_remarks(&foreign(types, &[(&[1], values)], &[]), Some(Format::Pprof)).expect("it is valid");
        let (_, count, cpu_ns, wall_ns) = stacks(&profile)[0].clone();
        (count, cpu_ns, wall_ns, remarks)
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(of(&[("cpu", "microseconds"), ("wall", "milliseconds")], &[2, 3]), (1, 2_000, 3_000_000, none.clone()));
    for unit in ["us", "\u{b5}s", "\u{3bc}s"] {
        assert_eq!(of(&[("Wall time", unit)], &[5]), (1, 0, 5_000, none.clone()), "{unit}");
    }
    assert_eq!(of(&[("wall-time", "ns"), ("cpu-time", "s")], &[7, 1]), (1, 1_000_000_000, 7, none.clone()));
    assert_eq!(of(&[("delay", "nanoseconds")], &[9]), (1, 0, 9, none));
    let left_out =
        |name: &str| format!("the values {name} are left out: a profile here has samples, CPU time and wall time");
    assert_eq!(
        of(&[("contentions", "count"), ("delay", "nanoseconds")], &[4, 9]),
        (1, 0, 9, vec![left_out("contentions/count")])
    );
    assert_eq!(
        of(&[("alloc_objects", "count"), ("alloc_space", "bytes")], &[4, 512]),
        (
            1,
            0,
            512,
            vec![
                "the values alloc_space/bytes are shown as if they were nanoseconds of wall time".to_owned(),
                left_out("alloc_objects/count")
            ]
        )
    );
}

#[test]
fn samples_alone_count_a_period_each() {
    // String 2 is "work": no unit, so the number of samples is all there is.
    let file = foreign(&[("samples", "count")], &[(&[1], &[3])], &[]);
    let Reading { profile, remarks } = read_with_remarks(&file, None).expect("it is valid");
    assert_eq!(stacks(&profile)[0].3, 3);
    assert_eq!(remarks, ["the values samples/count are shown as if they were nanoseconds of wall time"]);
    // The period's type: strings 9 and 10 are its name and unit, named through a second type of value.
    let period = message(&[Number(1, 9), Number(2, 10)]);
    let more = [Bytes(11, &period), Number(12, 10)];
    let file = foreign(&[("samples", "count"), ("cpu", "milliseconds")], &[(&[1], &[3, 30])], &more);
    assert_eq!(read(&file, None).expect("it is valid").info.interval_ns, 10_000_000);
}

#[test]
fn what_cannot_be_is_one_sentence() {
    let types: [(&str, &str); 1] = [("cpu", "nanoseconds")];
    let negative = foreign(&types, &[(&[1], &[u64::MAX])], &[]);
    let cases = [
        (foreign(&types, &[(&[9], &[1])], &[]), "sample 0: it names location 9, which the file does not have"),
        (foreign(&types, &[(&[1], &[1, 2])], &[]), "it has 2 values, but the file names 1 types of them"),
        (negative, "the difference of two profiles"),
        (foreign(&[], &[], &[Number(9, 1)]), "no sample type"),
        (foreign(&types, &[], &[Bytes(4, &message(&[Bytes(4, &message(&[Number(1, 77)]))]))]), "names function 77"),
        (foreign(&types, &[], &[Number(13, 99)]), "it names string 99"),
        (foreign(&types, &[], &[Bytes(2, b"\x0f")]), "not encoded as the format says"),
        (foreign(&types, &[], &[Bytes(2, &vec![0; (1 << 20) + 1])]), "longer than 1 MB"),
        (Vec::new(), "it is empty"),
        (packed(&[]), "it is empty"),
    ];
    for (file, sentence) in cases {
        let error = read(&file, Some(Format::Pprof)).expect_err("it cannot be").to_string();
        assert!(error.contains(sentence), "{error}");
    }
    let error = read(&packed(b"{\"a\": 1}"), None).expect_err("it is JSON");
    assert_eq!(error.to_string(), "the file is JSON compressed with gzip: unpack it first (gunzip)");
    let whole = written(&sample::profile(), None);
    let error = read(&whole[..whole.len() / 2], None).expect_err("half of it is missing");
    assert_eq!(error.to_string(), "not a pprof profile: the file is cut short");
}

#[test]
fn a_file_of_ours_says_what_it_is() {
    let file = unpacked(&written(&sample::profile(), None));
    let text = String::from_utf8_lossy(&file);
    for part in ["MainThread", "worker (43)", "/srv/app.py", "[native]", "on-cpu,gil", "#spprof:{"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(text.contains("12 samples in 2.000 s (6.0/s), one asked every 10 ms, 1 dropped, 2 ticks missed"), "{text}");
}

#[test]
fn the_same_profile_gives_the_same_bytes() {
    assert_eq!(written(&sample::profile(), None), written(&sample::profile(), None));
}

/// A frame: name, file, first line, native, line.
type Frame = (String, String, u32, bool, u32);

/// What one thread spent with one stack in one state: samples, CPU and wall time.
fn sums(profile: &Profile, thread: usize) -> BTreeMap<(Vec<Frame>, State), (u64, u64, u64)> {
    let mut sums = BTreeMap::new();
    for sample in &profile.threads[thread].timeline {
        let frame = |(function, line)| {
            let function = profile.functions.get(function);
            let text = |id| profile.strings.get(id).to_owned();
            (text(function.name), text(function.file), function.first_line, function.is_native, line)
        };
        let stack = profile.tree.frames(sample.leaf).map(frame).collect();
        let sum: &mut (u64, u64, u64) = sums.entry((stack, sample.state)).or_default();
        *sum = (sum.0 + sample.count, sum.1 + sample.cpu_ns, sum.2 + sample.wall_ns);
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_what_is_read(profile in any_profile()) {
        let reading = read_with_remarks(&written(&profile, None), None).expect("it is valid");
        prop_assert!(reading.remarks.is_empty(), "{:?}", reading.remarks);
        assert_same_but_samples(&reading.profile, &profile);
        for thread in 0..profile.threads.len() {
            prop_assert_eq!(sums(&reading.profile, thread), sums(&profile, thread));
        }
    }

    #[test]
    fn one_clock(profile in any_profile(), clock in prop::sample::select(Clock::ALL.to_vec())) {
        let back = read(&written(&profile, Some(clock)), None).expect("it is valid");
        for thread in 0..profile.threads.len() {
            let of_clock = |profile: &Profile| profile.threads[thread].weights().on(clock);
            prop_assert_eq!(of_clock(&back), of_clock(&profile));
        }
    }
}

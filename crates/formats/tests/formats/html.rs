//! The HTML report as a file. What its page shows is tested in a browser: `tests/html`.

use std::fs::{self, File};
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use formats::{Format, WriteOptions, read, write};
use profile::{Clock, Gil, NodeId, Observation, Profile, Recording, RecordingInfo, Running, State};
use serde_json::Value;

use crate::sample;

fn page(profile: &Profile, options: &WriteOptions) -> String {
    let mut file = Vec::new();
    write(profile, Format::Html, options, &mut file).expect("a vector takes everything");
    String::from_utf8(file).expect("a page is text")
}

/// The page without its data, and the data.
fn parts(page: &str) -> (String, &str) {
    let (before, rest) = page.split_once("<script id=\"data\" type=\"text/plain\">").expect("the data is there");
    let (data, after) = rest.split_once("</script>").expect("the data has an end");
    (format!("{before}{after}"), data)
}

/// What is packed in a page: the object, and the columns as numbers.
fn unpack(page: &str) -> (Value, Vec<u64>) {
    let bits = |char: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|&other| other == char)
    };
    let (_, data) = parts(page);
    let mut packed = Vec::new();
    for group in data.as_bytes().chunks(4) {
        let digits: Vec<usize> = group.iter().map_while(|&char| bits(char)).collect();
        let sum = digits.iter().chain(&[0; 4]).take(4).fold(0, |sum, digit| sum << 6 | digit);
        packed.extend(&sum.to_be_bytes()[size_of::<usize>() - 3..][..digits.len() - 1]);
    }
    let mut bytes = Vec::new();
    flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("it is a deflated stream");
    let (length, rest) = bytes.split_first_chunk().expect("it has a length");
    let (json, columns) = rest.split_at(u32::from_le_bytes(*length) as usize);
    let mut numbers = Vec::new();
    let (mut value, mut shift) = (0, 0);
    for byte in columns {
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut value));
            shift = 0;
        }
    }
    (serde_json::from_slice(json).expect("it is JSON"), numbers)
}

/// Reads the tables of totals: the samples, and for each clock the sum of weights and samples that carry them.
fn totals(page: &str) -> (u64, Vec<(u64, u64)>) {
    let (json, numbers) = unpack(page);
    let count = |value: &Value| value.as_u64().expect("it is a count") as usize;
    let mut numbers = numbers.into_iter();
    let mut take = |length: usize| numbers.by_ref().take(length).collect::<Vec<u64>>();
    take(6 * count(&json["functions"]));
    // The tree's columns are told in bytes; but as many nodes as there are have a parent, and each new thing is a zero before.
    take(4);
    let successors = take(count(&json["nodes"]) - 1);
    let new_successors = successors.iter().filter(|&&number| number == 0).count();
    let frames = take(new_successors);
    let new_frames = frames.iter().filter(|&&number| number == 0).count();
    take(2 * new_frames + count(&json["nodes"]) - 1);
    let clocks = json["clocks"].as_array().expect("there are clocks").len();
    let mut sums = vec![(0, 0); clocks];
    let mut all = 0;
    for rows in json["totals"].as_array().expect("there are tables") {
        let rows = count(rows);
        take(2 * rows);
        let samples = take(rows);
        all += samples.iter().sum::<u64>();
        let mut before = vec![0i64; rows];
        for sum in &mut sums {
            for (before, number) in before.iter_mut().zip(take(rows)) {
                *before += (number >> 1) as i64 ^ -((number & 1) as i64);
                sum.0 += *before as u64;
            }
            sum.1 += samples.iter().zip(take(rows)).map(|(samples, without)| samples - without).sum::<u64>();
        }
    }
    (all, sums)
}

#[test]
fn sums_are_exact_and_so_is_the_count() {
    let profile = sample::profile();
    let weights = profile.weights();
    let (samples, sums) = totals(&page(&profile, &WriteOptions::default()));
    assert_eq!(samples, weights.samples);
    assert_eq!(sums.len(), Clock::ALL.len());
    let all = || profile.threads.iter().flat_map(|thread| &thread.timeline);
    for (clock, (sum, carriers)) in Clock::ALL.into_iter().zip(sums) {
        assert_eq!(sum, weights.on(clock), "{clock:?}");
        assert_eq!(carriers, all().filter(|sample| sample.weight_ns(clock) > 0).count() as u64, "{clock:?}");
    }
}

#[test]
fn sums_of_very_many_stacks_are_exact_too() {
    // More rows than threads have tables of their own for, and more samples than a timeline keeps apart.
    let mut recording = Recording::without_limit(sample::info());
    let threads = ["a", "b"].map(|name| sample::thread(&mut recording, name, 1));
    let function = recording.intern_function("f", "f.py", 1, false);
    let stacks: Vec<NodeId> = (0..40_000).map(|line| recording.child(NodeId::ROOT, function, line)).collect();
    let states = [State::new(Running::OnCpu, Gil::Holds), State::new(Running::Blocked, Gil::Waits)];
    for number in 0..300_000u64 {
        let leaf = stacks[(number / 2 * 7919 % 40_000) as usize];
        let (wall_ns, cpu_ns) = (1_000_003 + number % 1000, number % 3 * 400_000);
        let observation = Observation { leaf, wall_ns, cpu_ns, state: states[(number / 3 % 2) as usize] };
        recording.record(threads[(number % 2) as usize], observation);
    }
    let profile = sample::finish(recording);
    let page = page(&profile, &WriteOptions::default());
    let (json, _) = unpack(&page);
    assert_eq!(json["totals"].as_array().map(Vec::len), Some(1));
    assert!(json["window_runs"].as_u64() > Some(1));
    let (samples, sums) = totals(&page);
    let weights = profile.weights();
    assert_eq!(samples, 300_000);
    let on_clocks = Clock::ALL.into_iter().map(|clock| weights.on(clock)).filter(|&weight_ns| weight_ns > 0);
    assert_eq!(sums.iter().map(|(sum, _)| *sum).collect::<Vec<_>>(), on_clocks.collect::<Vec<_>>());
}

#[test]
fn nothing_of_a_profile_is_outside_its_data() {
    let plain = parts(&page(&sample::single("f", "f.py", "MainThread"), &WriteOptions::default())).0;
    for name in sample::hard_names() {
        let page = page(&sample::single(&name, &name, &name), &WriteOptions::default());
        let (around, data) = parts(&page);
        assert_eq!(around, plain);
        assert!(data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)));
        let (json, _) = unpack(&page);
        let strings: Vec<&str> = json["strings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert!(strings.contains(&name.as_str()), "{name:?}");
        assert_eq!(json["threads"][0]["label"], name.as_str());
    }
}

#[test]
fn a_title_cannot_end_its_element() {
    for name in sample::hard_names() {
        let options = WriteOptions { name: name.clone(), ..WriteOptions::default() };
        let page = page(&sample::empty(), &options);
        let title =
            page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).expect("it is there").0;
        assert!(!title.contains(['<', '>', '"']), "{title}");
        assert!(title.chars().count() < 1300 && !title.contains(char::is_control), "{title}");
        assert_eq!(page.matches("<script").count(), 2);
    }
}

#[test]
fn it_needs_nothing_from_elsewhere() {
    let page = page(&sample::profile(), &WriteOptions::default());
    let (around, _) = parts(&page);
    for word in ["http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!around.contains(word), "the page has {word}");
    }
    assert!(around.contains("default-src 'none'"));
}

#[test]
fn the_same_profile_gives_the_same_file() {
    let options = WriteOptions::default();
    assert_eq!(page(&sample::profile(), &options), page(&sample::profile(), &options));
}

#[test]
fn one_clock_of_several() {
    let options = WriteOptions { clock: Some(Clock::Wall), ..WriteOptions::default() };
    let page = page(&sample::profile(), &options);
    let (json, _) = unpack(&page);
    assert_eq!(json["clocks"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["clocks"][0]["label"], "wall");
    assert_eq!(totals(&page).1[0].0, sample::profile().weights().wall_ns);
}

#[test]
fn a_page_is_known_by_its_beginning_and_not_read() {
    let page = page(&sample::profile(), &WriteOptions::default());
    for content in [page.as_str(), "\u{feff}<!DOCTYPE HTML><html>", "\n <HTML lang=en>"] {
        assert_eq!(Format::sniff(content.as_bytes()), Format::Html);
        let error = read(content.as_bytes(), None).expect_err("nobody reads it");
        assert_eq!(error.to_string(), "a file of the format html is to be looked at: it cannot be read");
    }
    // Functions are called like that too.
    assert_eq!(Format::sniff(b"<module> (app.py);f (app.py) 12"), Format::Collapsed);
}

/// A profile that was in line 2 of `file`, recorded at `start`.
fn seen_in(file: &str, start: SystemTime) -> Profile {
    let unix_ns = start.duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
    let mut info: RecordingInfo = sample::info();
    info.start.unix_ns = unix_ns;
    let mut recording = Recording::without_limit(info);
    let thread = sample::thread(&mut recording, "MainThread", 1);
    let function = recording.intern_function("f", file, 1, false);
    let leaf = recording.child(NodeId::ROOT, function, 2);
    sample::record(&mut recording, thread, leaf, 10, 10);
    sample::finish(recording)
}

#[test]
fn source_is_shown_only_if_it_is_what_ran() {
    let folder = std::env::temp_dir().join(format!("spprof-html-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let recorded = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let hour = Duration::from_secs(3600);
    let cases = [
        ("same.py", recorded - hour, recorded, "read"),
        ("changed.py", recorded + hour, recorded, "changed"),
        ("no_time.py", recorded - hour, UNIX_EPOCH, "no_time"),
        // What is no program is nobody's business, whatever a profile says.
        ("secret.key", recorded - hour, recorded, "missing"),
    ];
    for (name, modified, start, status) in cases {
        let path = folder.join(name);
        fs::write(&path, "def f():\n    return '</script>'\n\nother = 1\n").expect("a temporary file can be written");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(modified)).expect("it is ours");
        let (json, _) = unpack(&page(&seen_in(&path.to_string_lossy(), start), &WriteOptions::default()));
        let source = &json["sources"][0];
        assert_eq!(source["status"], status, "{name}");
        let lines = source["lines"].as_array().expect("there is a list");
        if status == "read" {
            assert_eq!(lines, &[serde_json::json!([1, "def f():\n    return '</script>'"])]);
        } else {
            assert!(lines.is_empty(), "{name}");
        }
    }
    fs::remove_dir_all(&folder).expect("it is ours");
    let (json, _) = unpack(&page(&seen_in("/nowhere/f.py", recorded), &WriteOptions::default()));
    assert_eq!(json["sources"][0]["status"], "missing");
    let (json, _) = unpack(&page(&seen_in("<string>", recorded), &WriteOptions::default()));
    assert_eq!(json["sources"], serde_json::json!([]));
}

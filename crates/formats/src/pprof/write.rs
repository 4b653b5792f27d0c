//! Writing: field by field, so that beside the profile only its sums and names are held.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use profile::{Clock, FunctionId, NodeId, Profile, State, Weights};
use rustc_hash::FxHashMap;

use super::proto::{self, Function, Label, Line, Location, Mapping, Sample, ValueType, field};
use super::{HEADER, NATIVE_MAPPING, PYTHON_MAPPING, STATE, THREAD, THREAD_ID, THREAD_NUMBER};
use crate::header::{Header, View};
use crate::{WriteOptions, clocks};

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl Write) -> io::Result<()> {
    let clocks = clocks(profile, options.clock);
    let header = Header::new(profile, clocks.iter().map(|&clock| View::all_threads(clock)).collect());
    // Without a name or a time in it: the same profile gives the same bytes.
    let mut out = GzEncoder::new(out, Compression::default());
    let mut strings = Strings::default();

    let count = strings.value_type("samples", "count");
    proto::write_message(&mut out, field::SAMPLE_TYPE, &count)?;
    for clock in &clocks {
        proto::write_message(&mut out, field::SAMPLE_TYPE, &strings.value_type(&clock_name(*clock), "nanoseconds"))?;
    }
    let has_native = write_samples(profile, &clocks, &header.thread_labels(), &mut strings, &mut out)?;
    for (id, name) in [(PYTHON_MAPPING, "[Python]"), (NATIVE_MAPPING, "[native]")] {
        if id == PYTHON_MAPPING || has_native {
            let filename = strings.intern(name);
            let mapping = Mapping {
                id,
                filename,
                has_functions: true,
                has_filenames: true,
                has_line_numbers: id == PYTHON_MAPPING,
            };
            proto::write_message(&mut out, field::MAPPING, &mapping)?;
        }
    }
    for id in profile.functions.ids() {
        let function = profile.functions.get(id);
        let name = strings.intern(profile.strings.get(function.name));
        let function = Function {
            id: id.index() as u64,
            name,
            // A name that is the same once more would be taken for one of C++, and `<module>` for arguments of a template.
            system_name: 0,
            filename: strings.intern(profile.strings.get(function.file)),
            start_line: function.first_line.into(),
        };
        proto::write_message(&mut out, field::FUNCTION, &function)?;
    }
    proto::write_number(&mut out, field::TIME_NANOS, narrow(profile.info.start.unix_ns))?;
    proto::write_number(&mut out, field::DURATION_NANOS, narrow(profile.duration_ns()))?;
    // A tick is due once an interval of wall time.
    proto::write_message(&mut out, field::PERIOD_TYPE, &strings.value_type("wall", "nanoseconds"))?;
    proto::write_number(&mut out, field::PERIOD, narrow(profile.info.interval_ns))?;
    for comment in [header.summary(), format!("{HEADER}{}", serde_json::to_string(&header)?)] {
        proto::write_number(&mut out, field::COMMENT, strings.intern(&comment))?;
    }
    let default = strings.intern(&clock_name(clocks[0]));
    proto::write_number(&mut out, field::DEFAULT_SAMPLE_TYPE, default)?;
    for text in &strings.texts {
        proto::write_bytes(&mut out, field::STRING_TABLE, text.as_bytes())?;
    }
    out.finish()?;
    Ok(())
}

/// What a clock is called as a sample type: `cpu`, `wall`.
fn clock_name(clock: Clock) -> String {
    clock.label().to_ascii_lowercase()
}

/// Writes all samples and the locations they name; whether there is machine code among them.
fn write_samples(
    profile: &Profile,
    clocks: &[Clock],
    thread_labels: &[String],
    strings: &mut Strings,
    out: &mut impl Write,
) -> io::Result<bool> {
    let tree = &profile.tree;
    let [thread_key, id_key, number_key, state_key] =
        [THREAD, THREAD_ID, THREAD_NUMBER, STATE].map(|key| strings.intern(key));
    let mut location_ids: FxHashMap<(FunctionId, u32), u64> = FxHashMap::default();
    let mut has_native = false;
    let mut names = HashSet::new();
    for (number, (thread, label)) in profile.threads.iter().zip(thread_labels).enumerate() {
        let is_first_of_name = names.insert((label, thread.native_id));
        let mut sums: BTreeMap<(NodeId, State), Weights> = BTreeMap::new();
        for sample in &thread.timeline {
            *sums.entry((sample.leaf, sample.state)).or_default() += sample.into();
        }
        let thread_label = Label { key: thread_key, text: strings.intern(label), number: 0 };
        for ((leaf, state), weights) in sums {
            let mut labels = vec![thread_label];
            if thread.native_id != 0 {
                labels.push(Label { key: id_key, text: 0, number: narrow(thread.native_id) });
            }
            if !is_first_of_name {
                labels.push(Label { key: number_key, text: 0, number: number as i64 });
            }
            if state != State::UNKNOWN {
                labels.push(Label { key: state_key, text: strings.intern(&state.to_string()), number: 0 });
            }
            let mut locations = Vec::new();
            for node in tree.ancestors(leaf) {
                let next = location_ids.len() as u64 + 1;
                let (function, line) = (tree.function(node), tree.line(node));
                let id = *location_ids.entry((function, line)).or_insert(next);
                locations.push(id);
                if id == next {
                    let is_native = profile.functions.get(function).is_native;
                    has_native |= is_native;
                    let mapping_id = if is_native { NATIVE_MAPPING } else { PYTHON_MAPPING };
                    let line = Line { function_id: function.index() as u64, line: line.into() };
                    let location = Location { id, mapping_id, address: 0, lines: vec![line] };
                    proto::write_message(out, field::LOCATION, &location)?;
                }
            }
            let times = clocks.iter().map(|&clock| narrow(weights.on(clock)));
            let values = [narrow(weights.samples)].into_iter().chain(times).collect();
            proto::write_message(out, field::SAMPLE, &Sample { location_ids: locations, values, labels })?;
        }
    }
    Ok(has_native)
}

/// The table of strings.
struct Strings {
    texts: Vec<String>,
    index: FxHashMap<String, i64>,
}

impl Default for Strings {
    fn default() -> Strings {
        // The format wants the empty one first.
        Strings { texts: vec![String::new()], index: FxHashMap::from_iter([(String::new(), 0)]) }
    }
}

impl Strings {
    fn intern(&mut self, text: &str) -> i64 {
        if let Some(&number) = self.index.get(text) {
            return number;
        }
        let number = self.texts.len() as i64;
        self.texts.push(text.to_owned());
        self.index.insert(text.to_owned(), number);
        number
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { kind: self.intern(kind), unit: self.intern(unit) }
    }
}

/// The format has signed numbers: 292 years at most.
fn narrow(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

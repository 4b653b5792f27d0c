//! Reading files of any producer, in two passes: names first, which may stand behind the samples that need them.
//!
//! A file of ours is put together again by its header and labels. In any other, times are taken by their unit and name: what
//! is called CPU is CPU time, any other time is wall time.

use std::collections::HashMap;

use profile::{FunctionId, NewThread, NodeId, Observation, Profile, Recording, State, ThreadId};
use prost::Message;

use super::proto::{Fields, Function, Label, Location, MAX_MESSAGE_BYTES, Mapping, Sample, Value, ValueType, field};
use super::{HEADER, NATIVE_MAPPING, STATE, THREAD, THREAD_ID, THREAD_NUMBER};
use crate::Reading;
use crate::cost::{self, Cost};
use crate::error::ReadError;
use crate::header::Header;
use crate::labels::ALL_THREADS;
use crate::reading::{TotalWeight, finish_without_header};
use crate::states::state_of_words;

pub(crate) fn read(content: &[u8]) -> Result<Reading, ReadError> {
    let located = |error: ReadError| ReadError::new(format!("not a pprof profile: {error}"));
    let mut cost = Cost::of_file(content.len());
    let tables = Tables::read(content, &mut cost).map_err(located)?;
    let header = tables.header()?;
    let columns = Columns::new(&tables, header.is_some())?;
    let mut reader = Reader::new(tables, header, cost);
    reader.enter_locations()?;
    let mut fields = Fields::new(content);
    let mut number = 0u64;
    while let Some((field, value)) = fields.next().map_err(located)? {
        if let (field::SAMPLE, Value::Bytes(bytes)) = (field, value) {
            let at_sample = |error: ReadError| ReadError::new(format!("sample {number}: {error}"));
            let sample: Sample = message(bytes).map_err(at_sample)?;
            reader.enter(&sample, &columns).map_err(at_sample)?;
            number += 1;
        }
    }
    Ok(Reading { profile: reader.finish(), remarks: columns.remarks })
}

fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, ReadError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(ReadError::new("it is longer than 1 MB"));
    }
    M::decode(bytes).map_err(|error| ReadError::new(format!("it is not encoded as the format says: {error}")))
}

/// Counted for what a file has a handful of: far more than it takes.
const FEW_BYTES: usize = 1024;

/// All of a file but its samples.
#[derive(Default)]
struct Tables {
    strings: Vec<String>,
    types: Vec<ValueType>,
    functions: HashMap<u64, Function>,
    mappings: HashMap<u64, Mapping>,
    locations: Vec<Location>,
    comments: Vec<i64>,
    period_type: ValueType,
    period: i64,
    time_nanos: i64,
    duration_nanos: i64,
    default_type: i64,
}

impl Tables {
    fn read(content: &[u8], cost: &mut Cost) -> Result<Tables, ReadError> {
        let mut tables = Tables::default();
        let mut fields = Fields::new(content);
        let mut is_empty = true;
        while let Some((number, value)) = fields.next()? {
            is_empty = false;
            match (number, value) {
                (field::STRING_TABLE, Value::Bytes(bytes)) => {
                    // Twice: once more in the recording.
                    cost.add(2 * bytes.len() + cost::TEXT_BYTES)?;
                    tables.strings.push(String::from_utf8_lossy(bytes).into_owned());
                }
                (field::SAMPLE_TYPE, Value::Bytes(bytes)) => {
                    cost.add(FEW_BYTES)?;
                    tables.types.push(message(bytes)?);
                }
                (field::FUNCTION, Value::Bytes(bytes)) => {
                    cost.add(2 * cost::FUNCTION_BYTES)?;
                    let function: Function = message(bytes)?;
                    tables.functions.insert(function.id, function);
                }
                (field::MAPPING, Value::Bytes(bytes)) => {
                    cost.add(2 * cost::FUNCTION_BYTES)?;
                    let mapping: Mapping = message(bytes)?;
                    tables.mappings.insert(mapping.id, mapping);
                }
                (field::LOCATION, Value::Bytes(bytes)) => {
                    let location: Location = message(bytes)?;
                    cost.add(4 * cost::FUNCTION_BYTES + 48 * location.lines.len())?;
                    tables.locations.push(location);
                }
                (field::PERIOD_TYPE, Value::Bytes(bytes)) => tables.period_type = message(bytes)?,
                (field::PERIOD, Value::Number(number)) => tables.period = number,
                (field::TIME_NANOS, Value::Number(number)) => tables.time_nanos = number,
                (field::DURATION_NANOS, Value::Number(number)) => tables.duration_nanos = number,
                (field::DEFAULT_SAMPLE_TYPE, Value::Number(number)) => tables.default_type = number,
                (field::COMMENT, Value::Number(number)) => {
                    cost.add(FEW_BYTES)?;
                    tables.comments.push(number);
                }
                // Several numbers may be put together.
                (field::COMMENT, Value::Bytes(bytes)) => {
                    cost.add(FEW_BYTES * bytes.len())?;
                    let mut rest = bytes;
                    while !rest.is_empty() {
                        let number = prost::encoding::decode_varint(&mut rest);
                        let number = number.map_err(|_| ReadError::new("a comment is no number"))?;
                        tables.comments.push(number as i64);
                    }
                }
                _ => {}
            }
        }
        match (is_empty, tables.types.is_empty()) {
            (true, _) => Err(ReadError::new("it is empty")),
            (_, true) => Err(ReadError::new("it does not say what its values mean (it has no sample type)")),
            _ => Ok(tables),
        }
    }

    fn text(&self, number: i64) -> Result<&str, ReadError> {
        let text = usize::try_from(number).ok().and_then(|number| self.strings.get(number));
        text.map(String::as_str).ok_or_else(|| {
            let count = self.strings.len();
            ReadError::new(format!("it names string {number}, but the file has {count} from 0 on"))
        })
    }

    /// The honest numbers, if the file is ours.
    fn header(&self) -> Result<Option<Header>, ReadError> {
        for &comment in &self.comments {
            if let Some(json) = self.text(comment)?.strip_prefix(HEADER) {
                return serde_json::from_str(json).map(Some).map_err(|error| {
                    ReadError::new(format!(
                        "a comment begins with {HEADER} but what follows is not what spprof writes: {error}"
                    ))
                });
            }
        }
        Ok(None)
    }
}

/// Which value of a sample is what.
struct Columns {
    samples: Option<usize>,
    /// The value, and nanoseconds a unit of it.
    cpu: Option<(usize, u64)>,
    wall: Option<(usize, u64)>,
    values: usize,
    /// What became of values that are neither.
    remarks: Vec<String>,
}

impl Columns {
    fn new(tables: &Tables, is_ours: bool) -> Result<Columns, ReadError> {
        let values = tables.types.len();
        let mut columns = Columns { samples: None, cpu: None, wall: None, values, remarks: Vec::new() };
        let mut others = Vec::new();
        let mut gil = None;
        for (number, value_type) in tables.types.iter().enumerate() {
            let (kind, unit) = (tables.text(value_type.kind)?, tables.text(value_type.unit)?);
            let time = ns_of_unit(unit).map(|ns| (number, ns));
            if is_ours && kind == "gil" {
                gil = time;
                continue;
            }
            let place = if kind.to_ascii_lowercase().contains("cpu") { &mut columns.cpu } else { &mut columns.wall };
            if time.is_some() && place.is_none() {
                *place = time;
            } else if unit == "count" && kind.contains("sample") && columns.samples.is_none() {
                columns.samples = Some(number);
            } else {
                others.push((number, format!("{kind}/{unit}")));
            }
        }
        if columns.cpu.is_none() && columns.wall.is_none() {
            // Time with the GIL is part of the wall time, and the states say which: alone it is all that is known of that.
            columns.wall = gil;
        }
        columns.choose_without_time(tables, &mut others)?;
        columns.remarks.extend(others.iter().map(|(_, name)| {
            format!("the values {name} are left out: a profile here has samples, CPU time and wall time")
        }));
        Ok(columns)
    }

    /// A file without times still shows where the most of something is.
    fn choose_without_time(&mut self, tables: &Tables, others: &mut Vec<(usize, String)>) -> Result<(), ReadError> {
        if self.cpu.is_some() || self.wall.is_some() {
            return Ok(());
        }
        let unit_ns = ns_of_unit(tables.text(tables.period_type.unit)?);
        let period_ns = unit_ns.and_then(|ns| u64::try_from(tables.period).ok()?.checked_mul(ns)).filter(|&ns| ns > 0);
        if let (Some(samples), Some(period_ns)) = (self.samples, period_ns) {
            let is_cpu = tables.text(tables.period_type.kind)?.to_ascii_lowercase().contains("cpu");
            *if is_cpu { &mut self.cpu } else { &mut self.wall } = Some((samples, period_ns));
            self.remarks.push(format!("it counts samples only, of which each is taken for {period_ns} ns"));
            return Ok(());
        }
        // What its producer shows first; the last where that is not said.
        let default = tables.text(tables.default_type)?;
        let is_default = |(_, name): &&(usize, String)| name.split('/').next() == Some(default);
        let chosen = others.iter().find(is_default).or(others.last()).cloned();
        let (number, name) = match (chosen, self.samples) {
            (Some((number, name)), _) => (number, name),
            (None, Some(samples)) => (samples, "samples/count".to_owned()),
            (None, None) => return Ok(()), // there is always one type
        };
        others.retain(|&(other, _)| other != number);
        self.wall = Some((number, 1));
        self.remarks.push(format!("the values {name} are shown as if they were nanoseconds of wall time"));
        Ok(())
    }
}

fn ns_of_unit(unit: &str) -> Option<u64> {
    match unit {
        "nanoseconds" | "nanosecond" | "ns" => Some(1),
        // With the micro sign, and with the Greek letter, which austin2pprof writes.
        "microseconds" | "microsecond" | "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "milliseconds" | "millisecond" | "ms" => Some(1_000_000),
        "seconds" | "second" | "s" => Some(1_000_000_000),
        _ => None,
    }
}

struct Reader {
    tables: Tables,
    header: Option<Header>,
    cost: Cost,
    total: TotalWeight,
    recording: Recording,
    /// By the id in the file; the frames of a location are from the outermost to the innermost.
    frames: HashMap<u64, Vec<(FunctionId, u32)>>,
    threads: Vec<ThreadId>,
    thread_of_label: HashMap<(String, i64), usize>,
    /// Nodes below this one are counted.
    known_nodes: usize,
}

impl Reader {
    fn new(tables: Tables, header: Option<Header>, cost: Cost) -> Reader {
        let info = header.as_ref().map(Header::info).unwrap_or_default();
        let mut recording = Recording::without_limit(info);
        let mut thread_of_label = HashMap::new();
        let mut threads = Vec::new();
        if let Some(header) = &header {
            for (label, thread) in header.thread_labels().into_iter().zip(header.threads()) {
                let key = (label, i64::try_from(thread.native_id).unwrap_or(i64::MAX));
                thread_of_label.entry(key).or_insert(threads.len());
                threads.push(recording.add_thread(thread));
            }
        }
        let (total, frames) = (TotalWeight::default(), HashMap::new());
        Reader { tables, header, cost, total, recording, frames, threads, thread_of_label, known_nodes: 0 }
    }

    fn enter_locations(&mut self) -> Result<(), ReadError> {
        let mut function_ids: HashMap<(u64, bool), FunctionId> = HashMap::new();
        for location in std::mem::take(&mut self.tables.locations) {
            let located = |error: ReadError| ReadError::new(format!("location {}: {error}", location.id));
            let is_native = self.header.is_some() && location.mapping_id == NATIVE_MAPPING;
            let mut frames = Vec::with_capacity(location.lines.len().max(1));
            for line in location.lines.iter().rev() {
                let function = match function_ids.get(&(line.function_id, is_native)) {
                    Some(&id) => id,
                    None => {
                        let id = self.enter_function(line.function_id, is_native).map_err(located)?;
                        function_ids.insert((line.function_id, is_native), id);
                        id
                    }
                };
                frames.push((function, u32::try_from(line.line).unwrap_or(0)));
            }
            if frames.is_empty() {
                // Code without symbols.
                let mapping = self.tables.mappings.get(&location.mapping_id).copied().unwrap_or_default();
                let file = self.tables.text(mapping.filename).map_err(located)?;
                self.cost.add(cost::FUNCTION_BYTES + cost::TEXT_BYTES)?;
                let name = format!("{:#x}", location.address);
                frames.push((self.recording.intern_function(&name, file, 0, true), 0));
            }
            self.frames.insert(location.id, frames);
        }
        Ok(())
    }

    fn enter_function(&mut self, id: u64, is_native: bool) -> Result<FunctionId, ReadError> {
        let Some(function) = self.tables.functions.get(&id) else {
            return Err(ReadError::new(format!("it names function {id}, which the file does not have")));
        };
        let name = match self.tables.text(function.name)? {
            "" => self.tables.text(function.system_name)?,
            name => name,
        };
        let file = self.tables.text(function.filename)?;
        let first_line = u32::try_from(function.start_line).unwrap_or(0);
        Ok(self.recording.intern_function(name, file, first_line, is_native))
    }

    fn enter(&mut self, sample: &Sample, columns: &Columns) -> Result<(), ReadError> {
        self.cost.add(cost::SAMPLE_BYTES + cost::RARE_BYTES)?;
        if sample.values.len() != columns.values {
            let (got, asked) = (sample.values.len(), columns.values);
            return Err(ReadError::new(format!("it has {got} values, but the file names {asked} types of them")));
        }
        if sample.values.iter().any(|&value| value < 0) {
            return Err(ReadError::new(
                "a value is negative: the file is the difference of two profiles, not a profile",
            ));
        }
        let time_ns = |column: Option<(usize, u64)>| {
            let Some((number, unit_ns)) = column else { return Ok(0) };
            let ns = (sample.values[number] as u64).checked_mul(unit_ns);
            ns.ok_or_else(|| ReadError::new("a time is longer than 584 years"))
        };
        let (cpu_ns, wall_ns) = (time_ns(columns.cpu)?, time_ns(columns.wall)?);
        self.total.add(cpu_ns)?;
        self.total.add(wall_ns)?;
        let count = columns.samples.map_or(1, |number| sample.values[number] as u64).max(1);

        let mut leaf = NodeId::ROOT;
        for id in sample.location_ids.iter().rev() {
            let Some(frames) = self.frames.get(id) else {
                return Err(ReadError::new(format!("it names location {id}, which the file does not have")));
            };
            for &(function, line) in frames {
                leaf = self.recording.child(leaf, function, line);
                if leaf.index() > self.known_nodes {
                    self.known_nodes = leaf.index();
                    self.cost.add(cost::NODE_BYTES)?;
                }
            }
        }
        let (thread, state) = self.labels(&sample.labels)?;
        self.recording.record_several(thread, Observation { leaf, wall_ns, cpu_ns, state }, count);
        Ok(())
    }

    /// The thread and the state that a sample's labels name.
    fn labels(&mut self, labels: &[Label]) -> Result<(ThreadId, State), ReadError> {
        let (mut name, mut id, mut number, mut state) = ("", 0, None, State::UNKNOWN);
        for label in labels {
            match self.tables.text(label.key)? {
                THREAD | "thread name" | "thread_name" => name = self.tables.text(label.text)?,
                THREAD_ID | "thread id" | "tid" => id = label.number,
                THREAD_NUMBER => number = usize::try_from(label.number).ok(),
                STATE => state = state_of_words(self.tables.text(label.text)?),
                _ => {}
            }
        }
        if let Some(&thread) = number.filter(|_| self.header.is_some()).and_then(|number| self.threads.get(number)) {
            return Ok((thread, state));
        }
        let key = (name.to_owned(), id);
        if let Some(&thread) = self.thread_of_label.get(&key) {
            return Ok((self.threads[thread], state));
        }
        self.cost.add(2 * name.len() + cost::THREAD_BYTES)?;
        let native_id = u64::try_from(id).unwrap_or(0);
        let name = match (name, native_id) {
            ("", 0) => ALL_THREADS.to_owned(),
            ("", id) => format!("Thread-{id}"),
            (name, _) => name.to_owned(),
        };
        let is_main = name == "MainThread";
        let thread = self.recording.add_thread(NewThread { name, native_id, is_main, ..NewThread::default() });
        self.thread_of_label.insert(key, self.threads.len());
        self.threads.push(thread);
        Ok((thread, state))
    }

    fn finish(self) -> Profile {
        if let Some(header) = self.header {
            let mut profile = self.recording.finish(header.end(), header.counters());
            profile.ending = header.ending();
            profile.counters = header.counters();
            header.complete(&mut profile.threads);
            return profile;
        }
        let tables = self.tables;
        let mut profile = finish_without_header(self.recording);
        profile.info.start.unix_ns = u64::try_from(tables.time_nanos).unwrap_or(0);
        if tables.duration_nanos > 0 {
            profile.end.monotonic_ns = tables.duration_nanos as u64;
        }
        profile.end.unix_ns = profile.info.start.unix_ns.saturating_add(profile.end.monotonic_ns);
        let period_ns = ns_of_unit(tables.text(tables.period_type.unit).unwrap_or_default());
        profile.info.interval_ns =
            period_ns.and_then(|ns| u64::try_from(tables.period).ok()?.checked_mul(ns)).unwrap_or(0);
        profile
    }
}

//! Reading, chunk by chunk. What was cut off or damaged is missing, and a remark says how much is there.

use profile::{FunctionId, NewThread, NodeId, Observation, Profile, Recording, State, ThreadId};

use super::chunk::{Chunks, Kind, Next};
use super::varint::Taker;
use super::{ARGV, DONE, FUNC, HAS_COUNTS, HEAD, IS_MAIN, IS_NATIVE, NODE, SAMP, TEXT, THRD};
use crate::Reading;
use crate::cost::{self, Cost};
use crate::error::ReadError;
use crate::header::Header;
use crate::reading::TotalWeight;

/// The honest numbers without lists are a few hundred bytes. JSON can say in three bytes what takes a hundred in memory.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// A number from here on is kept on the side of its column.
const WIDE: u64 = u32::MAX as u64;

/// More than spprof writes: the columns of one part are held beside each other for a moment.
const MAX_ENTRIES: usize = 1 << 16;

pub(crate) fn read(content: &[u8]) -> Result<Reading, ReadError> {
    let mut chunks = Chunks::new(content)?;
    let header = match chunks.next() {
        Next::Chunk(HEAD, _, json) if json.len() <= MAX_HEADER_BYTES => serde_json::from_slice(json)
            .map_err(|error| ReadError::new(format!("its first part is not what spprof writes: {error}")))?,
        Next::Chunk(HEAD, ..) => return Err(ReadError::new("its first part is longer than any that spprof writes")),
        Next::Chunk(kind, ..) => {
            return Err(ReadError::new(format!("its first part is {}, not HEAD", show(kind))));
        }
        Next::End | Next::Cut(_) => {
            return Err(ReadError::new("the file ends within its first part, so there is nothing to read"));
        }
        Next::Damaged(_) => return Err(ReadError::new("its first part is damaged, so there is nothing to read")),
    };
    let mut reader = Reader::new(&header, Cost::of_file(content.len()));
    let remark = loop {
        match chunks.next() {
            Next::Chunk(DONE, at, content) => {
                let announced = Taker::new(content).number().map_err(|error| located(DONE, at, &error))?;
                if announced != reader.samples {
                    let got = reader.samples;
                    return Err(ReadError::new(format!("it announces {announced} samples and holds {got}")));
                }
                let left = chunks.bytes_left();
                break (left > 0).then(|| format!("{left} bytes follow the end of the profile and were not read"));
            }
            Next::Chunk(kind, at, content) => {
                reader.enter(kind, &mut Taker::new(content)).map_err(|error| located(kind, at, &error))?;
            }
            Next::End => break Some(reader.cut(content.len(), "ends before its end")),
            Next::Cut(at) => break Some(reader.cut(at, "is cut short")),
            Next::Damaged(at) => break Some(reader.cut(at, "is damaged")),
        }
    };
    Ok(Reading { profile: reader.finish(&header), remarks: remark.into_iter().collect() })
}

fn located(kind: Kind, at: usize, error: &ReadError) -> ReadError {
    ReadError::new(format!("part {} at byte {at}: {error}", show(kind)))
}

fn show(kind: Kind) -> String {
    String::from_utf8_lossy(&kind).into_owned()
}

struct Reader {
    recording: Recording,
    cost: Cost,
    total: TotalWeight,
    argv: Vec<String>,
    threads: Vec<ThreadBeingRead>,
    texts: Vec<String>,
    functions: Vec<FunctionId>,
    nodes: Vec<NodeId>,
    samples: u64,
    announced_samples: u64,
}

struct ThreadBeingRead {
    id: ThreadId,
    /// Up to where its samples reach.
    at_ns: u64,
    ended_ns: Option<u64>,
    folded_threads: u64,
}

impl Reader {
    fn new(header: &Header, cost: Cost) -> Reader {
        Reader {
            recording: Recording::without_limit(header.info()),
            cost,
            total: TotalWeight::default(),
            argv: Vec::new(),
            threads: Vec::new(),
            texts: vec![String::new()],
            functions: vec![FunctionId::NONE],
            nodes: vec![NodeId::ROOT],
            samples: 0,
            announced_samples: header.counters().samples,
        }
    }

    fn enter(&mut self, kind: Kind, content: &mut Taker<'_>) -> Result<(), ReadError> {
        match kind {
            SAMP => return self.samples(content),
            ARGV | THRD | TEXT | FUNC | NODE => {}
            _ if kind[0].is_ascii_lowercase() => return Ok(()),
            _ => return Err(ReadError::new("this spprof does not know what it means: take a newer one")),
        }
        while !content.is_empty() {
            match kind {
                ARGV => {
                    let argument = self.text(content)?;
                    self.argv.push(argument);
                }
                THRD => self.thread(content)?,
                TEXT => {
                    let text = self.text(content)?;
                    self.texts.push(text);
                }
                FUNC => self.function(content)?,
                _ => self.node(content)?,
            }
        }
        Ok(())
    }

    fn text(&mut self, content: &mut Taker<'_>) -> Result<String, ReadError> {
        let text = content.text()?;
        // In the list here, and once more in the recording.
        self.cost.add(2 * text.len() + cost::TEXT_BYTES)?;
        Ok(text.to_owned())
    }

    fn thread(&mut self, content: &mut Taker<'_>) -> Result<(), ReadError> {
        let name = content.text()?;
        self.cost.add(name.len() + cost::THREAD_BYTES)?;
        let (native_id, python_id, started_ns) = (content.number()?, content.number()?, content.number()?);
        let (ended, folded_threads, flags) = (content.number()?, content.number()?, content.number()?);
        let is_main = flags & IS_MAIN != 0;
        let id =
            self.recording.add_thread(NewThread { native_id, python_id, name: name.to_owned(), is_main, started_ns });
        self.threads.push(ThreadBeingRead { id, at_ns: started_ns, ended_ns: ended.checked_sub(1), folded_threads });
        Ok(())
    }

    fn function(&mut self, content: &mut Taker<'_>) -> Result<(), ReadError> {
        self.cost.add(cost::FUNCTION_BYTES)?;
        let (name, file) = (content.number()?, content.number()?);
        let (first_line, flags) = (content.number_u32()?, content.number()?);
        let text = |number: u64| {
            let text = usize::try_from(number).ok().and_then(|number| self.texts.get(number));
            text.ok_or_else(|| missing("string", number, self.texts.len()))
        };
        let function = self.recording.intern_function(text(name)?, text(file)?, first_line, flags & IS_NATIVE != 0);
        self.functions.push(function);
        Ok(())
    }

    fn node(&mut self, content: &mut Taker<'_>) -> Result<(), ReadError> {
        self.cost.add(cost::NODE_BYTES)?;
        let (back, function, line) = (content.number()?, content.number()?, content.number_u32()?);
        let number = self.nodes.len();
        let parent = usize::try_from(back).ok().filter(|&back| back > 0).and_then(|back| number.checked_sub(back));
        let Some(parent) = parent else {
            return Err(ReadError::new(format!(
                "the parent of node {number} is {back} before it, where there is none"
            )));
        };
        let known = usize::try_from(function).ok().filter(|&function| function > 0);
        let Some(&function) = known.and_then(|function| self.functions.get(function)) else {
            return Err(missing("function", function, self.functions.len()));
        };
        let node = self.recording.child(self.nodes[parent], function, line);
        self.nodes.push(node);
        Ok(())
    }

    fn samples(&mut self, content: &mut Taker<'_>) -> Result<(), ReadError> {
        let thread = content.number()?;
        let count = self.threads.len();
        let known = usize::try_from(thread).ok().and_then(|thread| self.threads.get_mut(thread));
        let Some(thread) = known else { return Err(missing("thread", thread, count)) };
        let (entries, flags) = (content.number()?, content.number()?);
        let entries = usize::try_from(entries).ok().filter(|&entries| entries <= MAX_ENTRIES);
        let entries =
            entries.ok_or_else(|| ReadError::new("it announces more samples than any part that spprof writes"))?;
        let mut leaves = Vec::new();
        let mut leaf = 0i64;
        for _ in 0..entries {
            leaf = leaf.wrapping_add(content.signed()?);
            let node = usize::try_from(leaf).ok().and_then(|leaf| self.nodes.get(leaf));
            self.cost.add(cost::SAMPLE_BYTES)?;
            leaves.push(*node.ok_or_else(|| missing("node", leaf as u64, self.nodes.len()))?);
        }
        let states = content.bytes(entries)?;
        let mut column = || -> Result<Vec<u64>, ReadError> { (0..entries).map(|_| content.number()).collect() };
        let (walls_ns, cpus_ns) = (column()?, column()?);
        let counts = if flags & HAS_COUNTS != 0 { column()? } else { vec![1; entries] };
        let mut gaps = Vec::new();
        let mut place = 0u64;
        for number in 0..content.number()? {
            if number > entries as u64 {
                return Err(ReadError::new("it has more gaps than samples"));
            }
            place = place.saturating_add(content.number()?);
            gaps.push((place, content.number()?));
        }
        let wide = [&walls_ns, &cpus_ns, &counts].map(|column| column.iter().filter(|&&value| value >= WIDE).count());
        self.cost.add(cost::RARE_BYTES * (gaps.len() + wide.iter().sum::<usize>()))?;
        let mut gaps = gaps.into_iter().peekable();
        for number in 0..=entries {
            while let Some((_, gap_ns)) = gaps.next_if(|&(place, _)| place == number as u64) {
                thread.at_ns = thread.at_ns.saturating_add(gap_ns);
                self.recording.skip_to(thread.id, thread.at_ns);
            }
            if number < entries {
                let (wall_ns, cpu_ns, count) = (walls_ns[number], cpus_ns[number], counts[number]);
                self.total.add(wall_ns)?;
                self.total.add(cpu_ns)?;
                if count == 0 {
                    return Err(ReadError::new("it holds an entry that stands for no sample"));
                }
                let observation =
                    Observation { leaf: leaves[number], wall_ns, cpu_ns, state: State::from_bits(states[number]) };
                self.recording.record_several(thread.id, observation, count);
                thread.at_ns = thread.at_ns.saturating_add(wall_ns);
            }
        }
        if gaps.next().is_some() || !content.is_empty() {
            return Err(ReadError::new("it goes on behind its end"));
        }
        self.samples += entries as u64;
        Ok(())
    }

    /// The remark about a file that is not whole.
    fn cut(&self, at: usize, what: &str) -> String {
        format!(
            "the file {what} at byte {at}: {} samples could be read up to there, of {} recorded",
            self.samples, self.announced_samples
        )
    }

    fn finish(self, header: &Header) -> Profile {
        let mut profile = self.recording.finish(header.end(), header.counters());
        profile.ending = header.ending();
        profile.counters = header.counters();
        profile.info.argv = self.argv;
        for (thread, read) in profile.threads.iter_mut().zip(self.threads) {
            thread.ended_ns = read.ended_ns;
            thread.folded_threads = read.folded_threads;
        }
        profile
    }
}

fn missing(what: &str, number: u64, count: usize) -> ReadError {
    ReadError::new(format!("it names {what} {number}, but up to there the file has {count} from 0 on"))
}

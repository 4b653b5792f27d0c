//! The text of a file, parsed in one pass.
//!
//! Stacks go into a tree as they are met, so a sample takes four bytes and its weight sixteen, however deep the stack. Nothing
//! recurses with depth.

use std::fmt;

use profile::{State, room};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::ReadError;
use crate::header::Header;
use crate::runs::Run;
use crate::stacks::{EMPTY_STACK, StackTree};

/// So many entries are read between two questions whether there is memory to go on.
const QUESTION_ENTRIES: usize = 256;

/// What a file says, of which nothing but the JSON has been checked.
#[derive(Debug)]
pub(super) struct RawFile {
    pub(super) header: Option<Header>,
    pub(super) frames: Option<Vec<RawFrame>>,
    pub(super) profiles: Option<Vec<RawProfile>>,
    /// Labelled with frame numbers.
    pub(super) stacks: StackTree,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawFrame {
    pub(super) name: String,
    pub(super) file: Option<String>,
    line: Option<f64>,
    #[serde(default)]
    pub(super) first_line: u32,
    #[serde(default)]
    pub(super) is_native: bool,
}

impl RawFrame {
    /// 0 when there is none. Some producers write fractions or -1: the cast goes to the nearest that is one.
    pub(super) fn line_number(&self) -> u32 {
        self.line.map_or(0, |line| line as u32)
    }
}

#[derive(Debug, Default)]
pub(super) struct RawProfile {
    pub(super) name: String,
    unit: Unit,
    start: Option<Number>,
    end: Option<Number>,
    /// Leaves in the tree of stacks.
    samples: Option<Vec<u32>>,
    weights: Option<Vec<Number>>,
    events: Option<Vec<Event>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    #[default]
    None,
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Bytes,
}

impl Unit {
    fn ns(self) -> Result<u64, ReadError> {
        match self {
            Unit::None | Unit::Nanoseconds => Ok(1),
            Unit::Microseconds => Ok(1_000),
            Unit::Milliseconds => Ok(1_000_000),
            Unit::Seconds => Ok(1_000_000_000),
            Unit::Bytes => Err(ReadError::new("its weights are bytes, not time")),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: EventKind,
    at: Number,
    frame: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum EventKind {
    #[serde(rename = "O")]
    Open,
    #[serde(rename = "C")]
    Close,
}

/// A JSON number; whole ones stay exact.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(u64),
    Other(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Number::Whole(value) => value as f64,
            Number::Other(value) => value,
        }
    }

    /// `self - start` in nanoseconds; `None` if that is negative or more than 292 years.
    fn ns_since(self, start: Number, unit_ns: u64) -> Option<u64> {
        if let (Number::Whole(from), Number::Whole(to)) = (start, self) {
            return to.checked_sub(from)?.checked_mul(unit_ns);
        }
        // The difference first: seconds since 1970 have no room for nanoseconds in 53 bits.
        let ns = ((self.as_f64() - start.as_f64()) * unit_ns as f64).round();
        (0.0..i64::MAX as f64).contains(&ns).then_some(ns as u64)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number::Whole(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::Other(value as f64))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number::Other(value))
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

impl RawProfile {
    /// Its stacks and weights in the order of time.
    pub(super) fn runs(&self, stacks: &mut StackTree) -> Result<Vec<Run>, ReadError> {
        let unit_ns = self.unit.ns()?;
        match (&self.samples, &self.weights, &self.events) {
            (Some(samples), Some(weights), None) => Self::runs_of_samples(samples, weights, unit_ns),
            (None, None, Some(events)) => self.runs_of_events(events, unit_ns, stacks),
            _ => Err(ReadError::new("it must have either \"samples\" and \"weights\" or \"events\"")),
        }
    }

    fn runs_of_samples(samples: &[u32], weights: &[Number], unit_ns: u64) -> Result<Vec<Run>, ReadError> {
        if samples.len() != weights.len() {
            let (samples, weights) = (samples.len(), weights.len());
            return Err(ReadError::new(format!("it has {samples} samples but {weights} weights")));
        }
        let run = |(number, (&stack, weight)): (usize, (&u32, &Number))| {
            let weight_ns = weight.ns_since(Number::Whole(0), unit_ns).ok_or_else(|| {
                ReadError::new(format!("weight {number} is {}: it must be from 0 to 292 years", weight.as_f64()))
            })?;
            Ok(Run { stack, state: State::UNKNOWN, weight_ns, samples: 1 })
        };
        samples.iter().zip(weights).enumerate().map(run).collect()
    }

    fn runs_of_events(&self, events: &[Event], unit_ns: u64, stacks: &mut StackTree) -> Result<Vec<Run>, ReadError> {
        let Some(first) = events.first() else { return Ok(Vec::new()) };
        let mut at = self.start.filter(|start| first.at.ns_since(*start, unit_ns).is_some()).unwrap_or(first.at);
        let mut stack = EMPTY_STACK;
        let mut runs = Vec::new();
        let mut stay = |stack: u32, weight_ns: u64| {
            if weight_ns > 0 {
                runs.push(Run { stack, state: State::UNKNOWN, weight_ns, samples: 1 });
            }
        };
        for (number, event) in events.iter().enumerate() {
            let wrong = |what: &str| Err(ReadError::new(format!("event {number} {what}")));
            let Some(weight_ns) = event.at.ns_since(at, unit_ns) else {
                return wrong("is earlier than the one before it");
            };
            stay(stack, weight_ns);
            at = event.at;
            stack = match event.kind {
                EventKind::Open => stacks.child(stack, event.frame),
                EventKind::Close if stack != EMPTY_STACK && stacks.label(stack) == event.frame => stacks.parent(stack),
                EventKind::Close => return wrong("closes a frame that is not the innermost open one"),
            };
        }
        // A producer that was cut off leaves frames open to the end.
        stay(stack, self.end.and_then(|end| end.ns_since(at, unit_ns)).unwrap_or(0));
        Ok(runs)
    }
}

pub(super) fn parse(content: &[u8]) -> Result<RawFile, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(content);
    let file = deserializer.deserialize_map(FileVisitor)?;
    deserializer.end()?;
    Ok(file)
}

struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = RawFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a speedscope object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawFile, A::Error> {
        #[derive(Deserialize)]
        #[serde(expecting = "an object with a list of \"frames\"")]
        struct Shared {
            frames: Vec<RawFrame>,
        }
        let mut file = RawFile { header: None, frames: None, profiles: None, stacks: StackTree::new() };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "shared" => file.frames = Some(map.next_value::<Shared>()?.frames),
                "profiles" => file.profiles = Some(map.next_value_seed(List(&mut file.stacks, ProfileSeed))?),
                "spprof" => file.header = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(file)
    }
}

/// Deserializes one thing into the tree of stacks.
trait IntoStacks: Copy {
    type Value;

    fn deserialize<'de, D: Deserializer<'de>>(
        self,
        stacks: &mut StackTree,
        deserializer: D,
    ) -> Result<Self::Value, D::Error>;
}

/// Deserializes a list of such things.
struct List<'a, T>(&'a mut StackTree, T);

impl<'de, T: IntoStacks> DeserializeSeed<'de> for List<'_, T> {
    type Value = Vec<T::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: IntoStacks> Visitor<'de> for List<'_, T> {
    type Value = Vec<T::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let List(stacks, item) = self;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(One(stacks, item))? {
            if values.len().is_multiple_of(QUESTION_ENTRIES) && !room::is_there(0) {
                return Err(A::Error::custom(ReadError::no_memory()));
            }
            values.push(value);
        }
        Ok(values)
    }
}

struct One<'a, T>(&'a mut StackTree, T);

impl<'de, T: IntoStacks> DeserializeSeed<'de> for One<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        self.1.deserialize(self.0, deserializer)
    }
}

#[derive(Clone, Copy)]
struct ProfileSeed;

impl IntoStacks for ProfileSeed {
    type Value = RawProfile;

    fn deserialize<'de, D: Deserializer<'de>>(
        self,
        stacks: &mut StackTree,
        deserializer: D,
    ) -> Result<RawProfile, D::Error> {
        struct ProfileVisitor<'a>(&'a mut StackTree);

        impl<'de> Visitor<'de> for ProfileVisitor<'_> {
            type Value = RawProfile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a profile object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawProfile, A::Error> {
                let mut profile = RawProfile::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => profile.name = map.next_value()?,
                        "unit" => profile.unit = map.next_value()?,
                        "startValue" => profile.start = map.next_value()?,
                        "endValue" => profile.end = map.next_value()?,
                        "samples" => profile.samples = Some(map.next_value_seed(List(self.0, StackSeed))?),
                        "weights" => profile.weights = Some(map.next_value()?),
                        "events" => profile.events = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(profile)
            }
        }

        deserializer.deserialize_map(ProfileVisitor(stacks))
    }
}

#[derive(Clone, Copy)]
struct StackSeed;

impl IntoStacks for StackSeed {
    type Value = u32;

    fn deserialize<'de, D: Deserializer<'de>>(self, stacks: &mut StackTree, deserializer: D) -> Result<u32, D::Error> {
        struct StackVisitor<'a>(&'a mut StackTree);

        impl<'de> Visitor<'de> for StackVisitor<'_> {
            type Value = u32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of frame numbers, root first")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut frames: A) -> Result<u32, A::Error> {
                let mut leaf = EMPTY_STACK;
                while let Some(frame) = frames.next_element()? {
                    leaf = self.0.child(leaf, frame);
                }
                Ok(leaf)
            }
        }

        deserializer.deserialize_seq(StackVisitor(stacks))
    }
}

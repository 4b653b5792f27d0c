//! Memory that a fuzzer damages.
//!
//! A valid image of a thread's frames, of one of the builds, whose words are then changed as the input says; or words that
//! mean nothing, mapped again and again, so that every offset finds something.

use std::cell::Cell;
use std::collections::BTreeMap;

use interpreter::{Fault, Layout, Memory, RawFrame, WalkEnd};

use crate::build::{self, Build};
use crate::image::{CODE_TYPE, Code, Image, Link, RUNTIME, THREAD};
use crate::input::Input;
use crate::plain_walk::plain_walk;

/// Changes of one input.
const MAX_CHANGES: usize = 64;
/// Words of one input that mean nothing.
const MAX_WORDS: usize = 256;

/// Words that mean nothing are mapped again and again up to here, so that large offsets find something too.
const REPEATED_BYTES: u64 = 64 << 10;

enum Words {
    /// By address.
    Apart(BTreeMap<u64, u64>),
    /// From the start on, and again.
    Repeated(Vec<u64>),
}

/// Memory and what is known of it.
pub struct Scene {
    /// The offsets of the build.
    pub layout: Layout,
    /// Address of `PyCode_Type`.
    pub code_type: u64,
    /// A thread state.
    pub thread: u64,
    /// A code object.
    pub code: u64,
    /// `_PyRuntime`.
    pub runtime: u64,
    words: Words,
    /// Loads so far.
    pub loads: Cell<usize>,
}

impl Memory for Scene {
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        self.loads.set(self.loads.get() + 1);
        if !address.is_multiple_of(8) {
            return Err(Fault);
        }
        match &self.words {
            Words::Apart(words) => words.get(&address).copied(),
            Words::Repeated(words) => address
                .checked_sub(RUNTIME)
                .filter(|offset| *offset < REPEATED_BYTES && !words.is_empty())
                .map(|offset| words[(offset / 8) as usize % words.len()]),
        }
        .ok_or(Fault)
    }
}

impl Scene {
    /// What a walk along the thread's frames must show, and how it must end.
    pub fn plain_walk(&self, max_frames: usize) -> (Vec<RawFrame>, WalkEnd) {
        plain_walk(self, &self.layout, self.code_type, self.thread, max_frames)
    }
}

/// All builds and their layouts.
pub struct Builds(Vec<(Layout, Build)>);

impl Default for Builds {
    fn default() -> Self {
        Self(build::all().into_iter().map(|build| (build.layout(), build)).collect())
    }
}

impl Builds {
    /// The scene that an input describes.
    pub fn scene(&self, input: &mut Input<'_>) -> Scene {
        let (layout, build) = &self.0[usize::from(input.byte()) % self.0.len()];
        if input.byte() & 1 == 0 { damaged(build, layout, input) } else { meaningless(layout, input) }
    }
}

fn damaged(build: &Build, layout: &Layout, input: &mut Input<'_>) -> Scene {
    let mut image = Image::new(build);
    let name = String::from_utf8_lossy(input.bytes()).into_owned();
    let line_table = input.bytes();
    let code = Code {
        name: &name,
        filename: "/srv/app.py",
        first_line: input.int() as i32,
        line_table,
        units: u64::from(input.byte()),
        first_traceable_units: u32::from(input.byte()),
    };
    let code = image.put_code(&code);
    let mut chain = Vec::new();
    let kinds = input.short();
    for at in 0..usize::from(kinds & 15) {
        let offset = i64::from(input.byte() as i8) * 2;
        chain.push(match kinds >> 4 >> at & 1 {
            0 => Link::Python { code, offset },
            _ if build.has_shims() && at % 2 == 1 => Link::Shim,
            _ => Link::Generator { code, offset },
        });
    }
    if build.minor() >= 15 {
        chain.push(Link::Shim);
    }
    image.put_chain(&chain);
    let mut words = std::mem::take(&mut image.words);
    let addresses: Vec<u64> = words.keys().copied().collect();
    for _ in 0..MAX_CHANGES {
        if input.is_empty() {
            break;
        }
        let at = |number: u16| addresses[usize::from(number) % addresses.len()];
        let place = at(input.short());
        match input.byte() % 6 {
            0 => drop(words.remove(&place)),
            // Another structure's address, with a tag or an offset.
            1 => drop(words.insert(place, at(input.short()).wrapping_add(u64::from(input.byte())))),
            2 => drop(words.insert(place, input.word())),
            3 => drop(words.insert(place, u64::from(input.byte()))),
            4 => drop(words.insert(place ^ 8, input.word())),
            _ => *words.entry(place).or_default() ^= 1 << (input.byte() & 63),
        }
    }
    Scene {
        layout: *layout,
        code_type: CODE_TYPE,
        thread: THREAD,
        code,
        runtime: RUNTIME,
        words: Words::Apart(words),
        loads: Cell::new(0),
    }
}

fn meaningless(layout: &Layout, input: &mut Input<'_>) -> Scene {
    let start = |number: u8| RUNTIME + u64::from(number) * 8;
    let (code_type, thread, code, runtime) =
        (start(input.byte()), start(input.byte()), start(input.byte()), start(input.byte()));
    let mut words = Vec::new();
    while !input.is_empty() && words.len() < MAX_WORDS {
        let word = match input.byte() {
            0 => input.word(),
            1 => code_type,
            2 => u64::from(input.byte()),
            3 => start(input.byte()) | 1,
            number => start(number),
        };
        words.push(word);
    }
    let words = Words::Repeated(words);
    Scene { layout: *layout, code_type, thread, code, runtime, words, loads: Cell::new(0) }
}

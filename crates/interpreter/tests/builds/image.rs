//! Fake memory in which an interpreter's structures are laid out by what was found in its build.

use std::cell::Cell;
use std::collections::BTreeMap;

use interpreter::{Fault, Memory, RawFrame, WalkEnd, count_frames, walk};

use crate::build::Build;

/// `&_PyRuntime`.
pub(crate) const RUNTIME: u64 = 0x10_0000;
/// `&PyCode_Type`.
pub(crate) const CODE_TYPE: u64 = 0x20_0000;
/// The thread state whose frames are walked.
pub(crate) const THREAD: u64 = 0x30_0000;

/// Structures get their addresses from here on.
const HEAP: u64 = 0x40_0000;
/// Larger than any of them but for long texts.
const SPACING: u64 = 0x1000;

/// The size of every code object's frames.
const FRAME_WORDS: u32 = 16;

/// Words by address; what was not written is not mapped.
pub(crate) struct Image<'a> {
    build: &'a Build,
    pub(crate) words: BTreeMap<u64, u64>,
    next: u64,
    /// Loads so far.
    pub(crate) loads: Cell<usize>,
}

/// A link of a chain of frames.
#[derive(Clone, Copy)]
pub(crate) enum Link {
    /// A Python function's frame: its code object and the offset of its instruction in bytes.
    Python { code: u64, offset: i64 },
    /// The same in a generator.
    Generator { code: u64, offset: i64 },
    /// Entry from C.
    Shim,
}

/// A code object to lay out.
pub(crate) struct Code<'a> {
    pub(crate) name: &'a str,
    pub(crate) filename: &'a str,
    pub(crate) first_line: i32,
    pub(crate) line_table: &'a [u8],
    pub(crate) units: u64,
    pub(crate) first_traceable_units: u32,
}

impl Memory for Image<'_> {
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        self.loads.set(self.loads.get() + 1);
        if !address.is_multiple_of(8) {
            return Err(Fault);
        }
        self.words.get(&address).copied().ok_or(Fault)
    }
}

impl<'a> Image<'a> {
    /// Nothing but the runtime's table of offsets, where there is one.
    pub(crate) fn new(build: &'a Build) -> Self {
        let words = (RUNTIME..).step_by(8).zip(build.debug_offsets()).collect();
        Self { build, words, next: HEAP, loads: Cell::new(0) }
    }

    pub(crate) fn put_word(&mut self, address: u64, value: u64) {
        assert!(address.is_multiple_of(8), "{address:#x}");
        self.words.insert(address, value);
    }

    pub(crate) fn put_bytes(&mut self, address: u64, bytes: &[u8]) {
        for (byte, at) in bytes.iter().zip(address..) {
            let word = self.words.entry(at & !7).or_default();
            let shift = (at & 7) * 8;
            *word = *word & !(0xff << shift) | u64::from(*byte) << shift;
        }
    }

    pub(crate) fn put_int(&mut self, address: u64, value: u32) {
        self.put_bytes(address, &value.to_le_bytes());
    }

    /// An address where there is room.
    pub(crate) fn allocate(&mut self, length: u64) -> u64 {
        let address = self.next;
        self.next += length.next_multiple_of(SPACING) + SPACING;
        address
    }

    /// A str object in its compact form.
    pub(crate) fn put_text(&mut self, text: &str) -> u64 {
        let build = self.build;
        let highest = text.chars().max().map_or(0, u32::from);
        let width: usize = if highest < 0x100 {
            1
        } else if highest < 0x1_0000 {
            2
        } else {
            4
        };
        let data: Vec<u8> =
            text.chars().flat_map(|character| u32::from(character).to_le_bytes()[..width].to_vec()).collect();
        let address = self.allocate(data.len() as u64);
        let is_ascii = highest < 0x80;
        let state = (width as u32) << build.fact("unicode.kind_bit")
            | 1 << build.fact("unicode.compact_bit")
            | u32::from(is_ascii) << build.fact("unicode.ascii_bit");
        self.put_word(address + build.fact("unicode.length"), text.chars().count() as u64);
        self.put_int(address + build.fact("unicode.state"), state);
        let place = build.fact(if is_ascii { "unicode.ascii_data" } else { "unicode.compact_data" });
        self.put_bytes(address + place, &data);
        address
    }

    /// A bytes object.
    pub(crate) fn put_bytes_object(&mut self, bytes: &[u8]) -> u64 {
        let address = self.allocate(bytes.len() as u64);
        self.put_word(address + self.build.fact("bytes.ob_size"), bytes.len() as u64);
        self.put_bytes(address + self.build.fact("bytes.data"), bytes);
        address
    }

    /// A code object.
    pub(crate) fn put_code(&mut self, code: &Code<'_>) -> u64 {
        let build = self.build;
        let (name, filename) = (self.put_text(code.name), self.put_text(code.filename));
        let line_table = self.put_bytes_object(code.line_table);
        let address = self.allocate(0);
        self.put_word(address + build.fact("object.ob_type"), CODE_TYPE);
        self.put_word(address + build.optional("code.qualname").unwrap_or(build.fact("code.name")), name);
        self.put_word(address + build.fact("code.filename"), filename);
        self.put_int(address + build.fact("code.first_line"), code.first_line as u32);
        self.put_word(address + build.fact("code.line_table"), line_table);
        match build.optional("code.first_traceable") {
            Some(offset) => {
                self.put_int(address + offset, code.first_traceable_units);
                self.put_word(address + build.fact("object.ob_size"), code.units);
            }
            None => {
                assert!(build.minor() < 11);
                let bytecode = self.put_bytes_object(&vec![9; code.units as usize * 2]);
                self.put_word(address + build.fact("code.bytecode"), bytecode);
            }
        }
        if let Some(offset) = build.optional("code.frame_words") {
            self.put_int(address + offset, FRAME_WORDS);
        } else if let Some(specials_words) = build.optional("frame.specials_words") {
            let locals = 5;
            self.put_int(address + build.fact("code.locals"), locals);
            self.put_int(address + build.fact("code.stack"), FRAME_WORDS - locals - specials_words as u32);
        }
        address
    }

    /// A code object of that name, of which only the name matters.
    pub(crate) fn put_plain_code(&mut self, name: &str) -> u64 {
        let code = Code { name, filename: "f.py", first_line: 1, line_table: &[], units: 50, first_traceable_units: 0 };
        self.put_code(&code)
    }

    /// Lays out a chain of frames, innermost first, and hangs it on the thread state. Returns their addresses. From 3.15 the
    /// last link must be a shim: the thread's base frame.
    pub(crate) fn put_chain(&mut self, chain: &[Link]) -> Vec<u64> {
        let build = self.build;
        let addresses = self.places(chain);
        for (at, (link, address)) in chain.iter().zip(&addresses).enumerate() {
            self.put_word(address + build.fact("frame.previous"), addresses.get(at + 1).copied().unwrap_or(0));
            match *link {
                Link::Python { code, offset } => self.put_python_frame(*address, code, offset, 0),
                Link::Generator { code, offset } => self.put_python_frame(*address, code, offset, 1),
                Link::Shim => {
                    // None, or nothing at all: never a code object.
                    self.put_word(address + build.fact("frame.executable"), 1);
                    self.put_word(address + build.fact("frame.instruction"), u64::MAX);
                    self.put_bytes(address + build.fact("frame.owner"), &[3]);
                }
            }
        }
        if let (Some(offset), Some(last)) = (build.optional("frame.is_entry"), addresses.last()) {
            self.put_bytes(last + offset, &[1]);
        }
        let innermost = addresses.first().copied().unwrap_or(0);
        self.put_innermost(innermost);
        if let Some(offset) = build.optional("thread.base_frame") {
            self.put_word(THREAD + offset, addresses.last().copied().unwrap_or(0));
        }
        addresses
    }

    /// Makes the frame at `address` the thread's innermost.
    pub(crate) fn put_innermost(&mut self, address: u64) {
        let root = THREAD + self.build.fact("thread.frame_root");
        match self.build.optional("thread.cframe_current_frame") {
            Some(offset) => {
                let cframe = self.allocate(0);
                self.put_word(root, cframe);
                self.put_word(cframe + offset, address);
            }
            None => self.put_word(root, address),
        }
    }

    /// Where the frames of a chain lie: those of calls one behind the other on the data stack, the outermost first.
    fn places(&mut self, chain: &[Link]) -> Vec<u64> {
        let build = self.build;
        let mut next_on_stack = None;
        if let Some(offset) = build.optional("thread.datastack_chunk") {
            let chunk = self.allocate(0);
            self.put_word(THREAD + offset, chunk);
            // The first of all leaves out a word.
            self.put_word(chunk, 0);
            next_on_stack = Some(chunk + build.fact("chunk.data") + 8);
        }
        let mut place = |link: &Link| match (link, &mut next_on_stack) {
            (Link::Python { .. }, Some(next)) => {
                let address = *next;
                *next += 8 * u64::from(FRAME_WORDS);
                address
            }
            _ => self.allocate(0),
        };
        let mut places: Vec<u64> = chain.iter().rev().map(&mut place).collect();
        places.reverse();
        places
    }

    /// The frame of a generator that does not run: it is linked to nothing.
    pub(crate) fn put_resting_generator(&mut self, code: u64) -> u64 {
        let address = self.allocate(0);
        self.put_python_frame(address, code, 4, 1);
        self.put_word(address + self.build.fact("frame.previous"), 0);
        if let Some(offset) = self.build.optional("frame.is_entry") {
            self.put_bytes(address + offset, &[1]);
        }
        address
    }

    fn put_python_frame(&mut self, address: u64, code: u64, offset: i64, owner: u8) {
        let build = self.build;
        // Deferred or immortal, as free-threaded builds have all of them (3.14 and later).
        let tag = u64::from(build.minor() >= 14);
        self.put_word(address + build.fact("frame.executable"), code | tag);
        let instruction = address + build.fact("frame.instruction");
        match build.minor() {
            9 => self.put_int(instruction, offset as u32),
            10 => self.put_int(instruction, offset.div_euclid(2) as u32),
            _ => {
                let start = code + build.fact("code.bytecode");
                self.put_word(instruction, start.wrapping_add_signed(offset));
                self.put_bytes(address + build.fact("frame.owner"), &[owner]);
            }
        }
        if let Some(index) = build.optional("frame.tlbc_index") {
            self.put_int(address + index, 0);
        }
    }

    /// Walks the thread's frames, and checks that counting them is the same walk.
    pub(crate) fn walked(&self, max_frames: usize) -> (Vec<RawFrame>, WalkEnd) {
        let layout = self.build.layout();
        let mut frames = Vec::new();
        let end = walk(self, &layout, CODE_TYPE, THREAD, max_frames, &mut |found| frames.extend_from_slice(found));
        assert_eq!(count_frames(self, &layout, CODE_TYPE, THREAD, max_frames), (frames.len(), end));
        (frames, end)
    }
}

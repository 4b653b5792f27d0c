//! Memory that says anything at all: nothing panics, and nothing goes on for ever.

use std::cell::Cell;

use interpreter::{Fault, Layout, Memory, RawFrame, WalkEnd, for_each_thread, read_code, walk};
use proptest::prelude::*;

use crate::build;
use crate::image::{self, Image, Link, THREAD};
use crate::plain_walk::plain_walk;

const START: u64 = 0x1_0000;
const WORDS: usize = 96;
const CODE_TYPE: u64 = START + 8;

/// A few words; they are mapped again and again through the first megabytes, so that large offsets find something too.
#[derive(Debug)]
struct Arena {
    words: Vec<u64>,
    loads: Cell<usize>,
}

impl Memory for Arena {
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        self.loads.set(self.loads.get() + 1);
        if !address.is_multiple_of(8) || !(START..START + (1 << 20)).contains(&address) {
            return Err(Fault);
        }
        self.words.get((address - START) as usize / 8 % WORDS).copied().ok_or(Fault)
    }
}

fn walked<M: Memory>(memory: &M, layout: &Layout, code_type: u64, thread: u64, max: usize) -> (Vec<RawFrame>, WalkEnd) {
    let mut frames = Vec::new();
    let end = walk(memory, layout, code_type, thread, max, &mut |found| frames.extend_from_slice(found));
    (frames, end)
}

/// What one damage makes of a word: another's address, with or without a tag, a number, nothing that is mapped.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Address { of: usize, tag: u64 },
    Owner { byte: u8, at: u32 },
    Word(u64),
    Gone,
}

fn damages() -> impl Strategy<Value = Vec<(usize, Damage)>> {
    let damage = prop_oneof![
        4 => (any::<usize>(), prop_oneof![3 => Just(0u64), 1 => 0u64..8])
            .prop_map(|(of, tag)| Damage::Address { of, tag }),
        2 => (0u8..6, 0u32..8).prop_map(|(byte, at)| Damage::Owner { byte, at }),
        1 => prop_oneof![Just(0), any::<u64>()].prop_map(Damage::Word),
        1 => Just(Damage::Gone),
    ];
    proptest::collection::vec((any::<usize>(), damage), 0..4)
}

/// Pointers into the arena mostly, with and without a tag; small numbers, the code type, and anything.
fn arena() -> impl Strategy<Value = Arena> {
    let word = prop_oneof![
        8 => (0..WORDS as u64 * 2, 0u64..4).prop_map(|(at, tag)| START + at * 8 + if tag == 1 { 1 } else { 0 }),
        4 => Just(CODE_TYPE),
        2 => 0u64..300,
        1 => any::<u64>(),
    ];
    proptest::collection::vec(word, WORDS).prop_map(|words| Arena { words, loads: Cell::new(0) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_walk_ends(arena in arena(), which in 0usize..10, start in 0..WORDS as u64, max_frames in 0usize..40) {
        let layout = build::all()[which].layout();
        let mut shown = 0;
        walk(&arena, &layout, CODE_TYPE, START + start * 8, max_frames, &mut |found| shown += found.len());
        prop_assert!(shown <= max_frames);
        // Ten loads a link at most, in a thread's copy of the bytecode; links are bounded by twice the frames and 64 shims.
        prop_assert!(arena.loads.get() <= 10 * (2 * max_frames + 64) + 4, "{} loads", arena.loads.get());
    }

    #[test]
    fn reading_ahead_changes_nothing_in_arbitrary_memory(
        arena in arena(), which in 0usize..10, start in 0..WORDS as u64, max_frames in 0usize..40
    ) {
        let (layout, thread) = (build::all()[which].layout(), START + start * 8);
        let ahead = walked(&arena, &layout, CODE_TYPE, thread, max_frames);
        prop_assert_eq!(ahead, plain_walk(&arena, &layout, CODE_TYPE, thread, max_frames));
    }

    #[test]
    fn reading_ahead_changes_nothing_in_damaged_chains(
        kinds in proptest::collection::vec(0u8..3, 0..30), damages in damages(), which in 0usize..10, max_frames in 0usize..40
    ) {
        let builds = build::all();
        let build = &builds[which];
        let mut image = Image::new(build);
        let codes = ["f", "g", "h"].map(|name| image.put_plain_code(name));
        let mut chain: Vec<Link> = Vec::new();
        for (kind, code) in kinds.iter().zip(codes.into_iter().cycle()) {
            chain.push(match kind {
                0 | 1 => Link::Python { code, offset: 4 },
                _ => Link::Generator { code, offset: 6 },
            });
            if build.has_shims() && kind % 2 == 1 {
                chain.push(Link::Shim);
            }
        }
        if build.has_shims() {
            chain.push(Link::Shim);
        }
        let frames = image.put_chain(&chain);
        let places: Vec<u64> = image.words.keys().copied().filter(|at| frames.iter().any(|frame| at & !0x7f == frame & !0x7f)).collect();
        for (place, damage) in damages {
            let Some(place) = places.get(place % places.len().max(1)) else { break };
            match damage {
                Damage::Address { of, tag } => image.put_word(*place, frames[of % frames.len()] + tag),
                Damage::Owner { byte, at } => image.put_bytes(place + u64::from(at), &[byte]),
                Damage::Word(word) => image.put_word(*place, word),
                Damage::Gone => drop(image.words.remove(place)),
            }
        }
        let layout = build.layout();
        let ahead = walked(&image, &layout, image::CODE_TYPE, THREAD, max_frames);
        prop_assert_eq!(ahead, plain_walk(&image, &layout, image::CODE_TYPE, THREAD, max_frames));
    }

    #[test]
    fn any_code_object_is_read_or_refused(arena in arena(), which in 0usize..10, start in 0..WORDS as u64) {
        let layout = build::all()[which].layout();
        if let Ok(code) = read_code(&arena, &layout, START + start * 8) {
            prop_assert!(code.name.chars().count() <= (64 << 10) + 1);
            prop_assert_eq!(code.lines.line(i32::MAX), None);
        }
    }

    #[test]
    fn any_lists_of_threads_end(arena in arena(), which in 0usize..10, start in 0..WORDS as u64) {
        let layout = build::all()[which].layout();
        let mut shown = 0;
        for_each_thread(&arena, &layout, START + start * 8, &mut |_| shown += 1);
        prop_assert!(shown <= 8192);
    }
}

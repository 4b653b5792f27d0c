//! Memory that says anything at all: nothing panics, and nothing goes on for ever.

use std::cell::Cell;

use interpreter::{Fault, Memory, for_each_thread, read_code, walk};
use proptest::prelude::*;

use crate::build;

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
        walk(&arena, &layout, CODE_TYPE, START + start * 8, max_frames, &mut |_| shown += 1);
        prop_assert!(shown <= max_frames);
        // Ten loads a link at most, in a thread's copy of the bytecode; links are bounded by twice the frames and 64 shims.
        prop_assert!(arena.loads.get() <= 10 * (2 * max_frames + 64) + 4, "{} loads", arena.loads.get());
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

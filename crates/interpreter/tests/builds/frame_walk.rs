//! Chains of frames of every build.

use interpreter::{RawFrame, TornReason, WalkEnd};

use crate::build::{self, Build};
use crate::image::{Image, Link, THREAD};

/// The chain of `main` calling `C`, which calls back into a generator that calls `leaf`.
struct Stack<'a> {
    image: Image<'a>,
    /// Addresses of the links.
    frames: Vec<u64>,
    /// What the walk must show.
    expected: Vec<RawFrame>,
}

fn stack(build: &Build) -> Stack<'_> {
    let mut image = Image::new(build);
    let [leaf, generator, main] = ["leaf", "generator", "main"].map(|name| image.put_plain_code(name));
    let mut chain = vec![
        Link::Python { code: leaf, offset: 10 },
        Link::Generator { code: generator, offset: 4 },
        Link::Shim,
        Link::Python { code: main, offset: -2 },
        Link::Shim,
    ];
    if !build.has_shims() {
        chain.retain(|link| !matches!(link, Link::Shim));
    }
    let frames = image.put_chain(&chain);
    // Up to 3.10 the index before the first instruction is -1, in bytes or in units of two.
    let before_first = if build.minor() == 9 { -1 } else { -2 };
    if build.minor() == 9 {
        image.put_int(frames[2] + build.fact("frame.instruction"), u32::MAX);
    }
    let expected = [(leaf, 10), (generator, 4), (main, before_first)]
        .map(|(code_address, instruction_offset_bytes)| RawFrame { code_address, instruction_offset_bytes })
        .to_vec();
    Stack { image, frames, expected }
}

#[test]
fn python_frames_innermost_first() {
    for build in build::all() {
        let stack = stack(&build);
        assert_eq!(stack.image.walked(100), (stack.expected, WalkEnd::Complete), "{}", build.name);
    }
}

#[test]
fn the_innermost_are_kept() {
    for build in build::all() {
        let stack = stack(&build);
        assert_eq!(stack.image.walked(3).1, WalkEnd::Complete, "{}", build.name);
        assert_eq!(stack.image.walked(2), (stack.expected[..2].to_vec(), WalkEnd::Truncated), "{}", build.name);
        assert_eq!(stack.image.walked(0), (vec![], WalkEnd::Truncated), "{}", build.name);
    }
}

#[test]
fn a_thread_that_runs_no_python() {
    for build in build::all() {
        let mut image = Image::new(&build);
        image.put_chain(if build.minor() >= 15 { &[Link::Shim] } else { &[] });
        assert_eq!(image.walked(10), (vec![], WalkEnd::Complete), "{}", build.name);
    }
}

#[test]
fn a_frame_that_is_being_cleared_is_passed_over() {
    for build in build::all() {
        let mut stack = stack(&build);
        let nothing = u64::from(build.minor() >= 14);
        stack.image.put_word(stack.frames[0] + build.fact("frame.executable"), nothing);
        assert_eq!(stack.image.walked(10), (stack.expected[1..].to_vec(), WalkEnd::Complete), "{}", build.name);
    }
}

#[test]
fn what_cannot_be_ends_the_walk_and_what_was_found_stands() {
    for build in build::all() {
        let torn = |damage: &dyn Fn(&mut Stack<'_>)| {
            let mut stack = stack(&build);
            damage(&mut stack);
            let (frames, end) = stack.image.walked(100);
            (frames == stack.expected[..frames.len()], frames.len(), end)
        };
        let previous = build.fact("frame.previous");

        let unmapped = torn(&|stack| stack.image.put_word(stack.frames[0] + previous, 0x9_9990));
        assert_eq!(unmapped, (true, 1, WalkEnd::Torn(TornReason::Fault)), "{}", build.name);
        let unaligned = torn(&|stack| stack.image.put_word(stack.frames[0] + previous, stack.frames[1] + 1));
        assert_eq!(unaligned, (true, 1, WalkEnd::Torn(TornReason::Fault)), "{}", build.name);
        let no_code = torn(&|stack| {
            let code = stack.expected[1].code_address;
            stack.image.put_word(code + build.fact("object.ob_type"), 0x9_9990);
        });
        assert_eq!(no_code, (true, 1, WalkEnd::Torn(TornReason::NotCode)), "{}", build.name);

        let mut ring = stack(&build);
        ring.image.put_word(ring.frames[1] + previous, ring.frames[0]);
        let (frames, end) = ring.image.walked(1000);
        let expected = match build.optional("thread.datastack_chunk") {
            None => (1000, WalkEnd::Truncated),
            // A frame of a call is not its own caller.
            Some(_) => (2, WalkEnd::Torn(TornReason::Unlinked)),
        };
        assert_eq!((frames.len(), end), expected, "{}", build.name);
        let mut generators = stack(&build);
        generators.image.put_word(generators.frames[1] + previous, generators.frames[1]);
        let (frames, end) = generators.image.walked(1000);
        assert_eq!((frames.len(), end), (1000, WalkEnd::Truncated), "{}", build.name);

        if build.optional("frame.owner").is_some() {
            for owner in [2, 5, 255] {
                let wrong = torn(&|stack| {
                    stack.image.put_bytes(stack.frames[1] + build.fact("frame.owner"), &[owner]);
                });
                assert_eq!(wrong, (true, 1, WalkEnd::Torn(TornReason::Owner)), "{}", build.name);
            }
        }
        if build.has_shims() {
            let shims = torn(&|stack| stack.image.put_word(stack.frames[2] + previous, stack.frames[2]));
            assert_eq!(shims, (true, 2, WalkEnd::Torn(TornReason::Endless)), "{}", build.name);
        }
    }
}

/// From 3.11 on: a call whose new frame is the innermost before it is linked, and what stood in the place of the link before.
#[test]
fn a_frame_that_is_not_linked_yet_is_torn() {
    for build in build::all().into_iter().filter(|build| build.minor() >= 11) {
        let previous = build.fact("frame.previous");
        let mut image = Image::new(&build);
        let codes = ["leaf", "caller", "outer", "main"].map(|name| image.put_plain_code(name));
        let mut chain: Vec<Link> = codes.iter().map(|code| Link::Python { code: *code, offset: 2 }).collect();
        if build.has_shims() {
            chain.push(Link::Shim);
        }
        let frames = image.put_chain(&chain);
        assert_eq!(image.walked(10).1, WalkEnd::Complete, "{}", build.name);

        // A call that is still on the stack, further out.
        image.put_word(frames[0] + previous, frames[2]);
        let (shown, end) = image.walked(10);
        assert_eq!((shown.len(), end), (1, WalkEnd::Torn(TornReason::Unlinked)), "{}", build.name);
        // A generator that called at this place before and is at rest, which 3.11 takes for one that C code has entered.
        let generator = image.put_resting_generator(codes[1]);
        image.put_word(frames[0] + previous, generator);
        assert_eq!(image.walked(10).1, WalkEnd::Torn(TornReason::Unlinked), "{}", build.name);
        // Nothing, as of a generator's frame that is being resumed.
        image.put_word(frames[0] + previous, 0);
        assert_eq!(image.walked(10).1, WalkEnd::Torn(TornReason::Unlinked), "{}", build.name);
        // The same of a generator's own frame, which is not on the data stack.
        let generator = image.put_resting_generator(codes[0]);
        image.put_innermost(generator);
        let end = image.walked(10).1;
        let expected = match build.minor() {
            11 => WalkEnd::Complete, // It is linked before it is the innermost, when the interpreter is entered.
            15 => WalkEnd::Torn(TornReason::BaseFrame),
            _ => WalkEnd::Torn(TornReason::Root),
        };
        assert_eq!(end, expected, "{}", build.name);
    }
}

/// The first frame of a new chunk of the data stack has its caller in another one.
#[test]
fn a_call_at_the_beginning_of_a_chunk() {
    for build in build::all().into_iter().filter(|build| build.minor() >= 11) {
        let stack = stack(&build);
        let Stack { mut image, frames, expected } = stack;
        let chunk = image.allocate(0);
        let leaf = chunk + build.fact("chunk.data");
        let words: Vec<u64> = (0..12).map(|at| image.words.get(&(frames[0] + 8 * at)).copied().unwrap_or(0)).collect();
        for (word, at) in words.into_iter().zip((leaf..).step_by(8)) {
            image.put_word(at, word);
        }
        image.put_innermost(leaf);
        assert_eq!(image.walked(10).1, WalkEnd::Torn(TornReason::Unlinked), "{}", build.name);
        let first_chunk = frames[frames.len() - if build.has_shims() { 2 } else { 1 }] - build.fact("chunk.data") - 8;
        image.put_word(chunk, first_chunk);
        image.put_word(THREAD + build.fact("thread.datastack_chunk"), chunk);
        assert_eq!(image.walked(10), (expected, WalkEnd::Complete), "{}", build.name);
    }
}

/// CPython 3.15 and later: every chain ends in the thread's base frame.
#[test]
fn a_chain_that_misses_the_base_frame_is_torn() {
    for build in build::all().into_iter().filter(|build| build.minor() >= 15) {
        let mut stack = stack(&build);
        stack.image.put_word(stack.frames[3] + build.fact("frame.previous"), 0);
        assert_eq!(stack.image.walked(10), (stack.expected, WalkEnd::Torn(TornReason::BaseFrame)), "{}", build.name);
    }
}

#[test]
fn an_instruction_that_lies_nowhere_near_the_code_has_not_begun() {
    for build in build::all().into_iter().filter(|build| build.minor() >= 11) {
        let mut stack = stack(&build);
        stack.image.put_word(stack.frames[0] + build.fact("frame.instruction"), u64::MAX / 2);
        let (frames, end) = stack.image.walked(10);
        assert_eq!((frames[0].instruction_offset_bytes, end), (i32::MIN, WalkEnd::Complete), "{}", build.name);
    }
}

/// Free-threaded from 3.14: `instr_ptr` points into the copy of the bytecode that the frame names.
#[test]
fn an_instruction_in_a_threads_own_copy() {
    for build in build::all().into_iter().filter(Build::has_thread_copies) {
        let mut stack = stack(&build);
        let (frame, code) = (stack.frames[0], stack.expected[0].code_address);
        let copy = stack.image.allocate(0);
        let array = stack.image.allocate(0);
        let own = code + build.fact("code.bytecode");
        for (at, word) in [3, own, 0, copy, copy].into_iter().enumerate() {
            stack.image.put_word(array + 8 * at as u64, word);
        }
        stack.image.put_word(code + build.fact("code.thread_copies"), array);
        stack.image.put_word(frame + build.fact("frame.instruction"), copy + 10);
        let mut with_index = |index: u32| {
            stack.image.put_int(frame + build.fact("frame.tlbc_index"), index);
            stack.image.walked(10)
        };
        assert_eq!(with_index(2), (stack.expected.clone(), WalkEnd::Complete), "{}", build.name);
        // A copy that is not there, and an index behind the array.
        assert_eq!(with_index(1), (vec![], WalkEnd::Torn(TornReason::Fault)), "{}", build.name);
        assert_eq!(with_index(3), (vec![], WalkEnd::Torn(TornReason::Fault)), "{}", build.name);
    }
}

/// Links are read some at a time, and counted one by one.
#[test]
fn a_chain_may_have_64_entries_more_than_twice_its_frames() {
    for build in build::all().into_iter().filter(Build::has_shims) {
        for (entries, expected) in [(63, WalkEnd::Complete), (64, WalkEnd::Torn(TornReason::Endless))] {
            let mut image = Image::new(&build);
            image.put_chain(&vec![Link::Shim; entries]);
            assert_eq!(image.walked(0), (vec![], expected), "{} with {entries}", build.name);
        }
    }
}

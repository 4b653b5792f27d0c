//! The walk along frames and the lists of threads, on memory that says anything: they end, within their bounds, and and reading
//! ahead shows what a plain walk does.
#![no_main]

use std::sync::LazyLock;

use interpreter::{count_frames, for_each_thread, walk};
use libfuzzer_sys::fuzz_target;
use spprof_fuzz::input::Input;
use spprof_fuzz::scene::Builds;

static BUILDS: LazyLock<Builds> = LazyLock::new(Builds::default);

/// Loads of a link at most, with the look for the caller's frame on 3.11 and 3.12.
const LOADS_A_LINK: usize = 14;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let max_frames = usize::from(input.byte());
    let scene = BUILDS.scene(&mut input);
    let mut frames = Vec::new();
    let end = walk(&scene, &scene.layout, scene.code_type, scene.thread, max_frames, &mut |found| {
        frames.extend_from_slice(found)
    });
    assert!(frames.len() <= max_frames);
    let most = LOADS_A_LINK * (2 * max_frames + 64) + 8;
    assert!(scene.loads.get() <= most, "{} loads, {most} allowed", scene.loads.get());
    let counted = count_frames(&scene, &scene.layout, scene.code_type, scene.thread, max_frames);
    assert_eq!(counted, (frames.len(), end), "counting is the same walk");
    assert_eq!((frames, end), scene.plain_walk(max_frames), "reading ahead changes nothing");
    let mut threads = 0;
    for_each_thread(&scene, &scene.layout, scene.runtime, &mut |_| threads += 1);
    assert!(threads <= 8192);
    scene.layout.gil_address(&scene, scene.runtime, scene.thread);
});

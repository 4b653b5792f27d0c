//! Thread states of every build.

use interpreter::{ThreadState, for_each_thread};

use crate::build;
use crate::image::{Image, RUNTIME};

#[test]
fn every_thread_of_every_interpreter() {
    for build in build::all() {
        let mut image = Image::new(&build);
        let at = |address: u64, key: &str| address + build.fact(key);
        let (main, other) = (image.allocate(0x4000), image.allocate(0x4000));
        image.put_word(at(RUNTIME, "runtime.interpreters_head"), other);
        image.put_word(at(other, "interpreter.next"), main);
        image.put_word(at(main, "interpreter.next"), 0);
        let mut expected = Vec::new();
        for (interpreter, ids) in [(other, [70].as_slice()), (main, [90, 80].as_slice())] {
            let states: Vec<u64> = ids.iter().map(|_| image.allocate(0)).collect();
            image.put_word(at(interpreter, "interpreter.threads_head"), states[0]);
            for (position, (state, id)) in states.iter().zip(ids).enumerate() {
                image.put_word(at(*state, "thread.next"), states.get(position + 1).copied().unwrap_or(0));
                image.put_word(at(*state, "thread.interpreter"), interpreter);
                image.put_word(at(*state, "thread.thread_id"), *id);
                let native = build.optional("thread.native_thread_id");
                if let Some(offset) = native {
                    image.put_word(state + offset, id + 1);
                }
                expected.push(ThreadState {
                    address: *state,
                    interpreter,
                    thread_id: *id,
                    native_thread_id: native.map(|_| id + 1),
                });
            }
        }
        let mut found = Vec::new();
        for_each_thread(&image, &build.layout(), RUNTIME, &mut |state| found.push(state));
        assert_eq!(found, expected, "{}", build.name);
    }
}

//! Tests of [`crate::operation`], each on a thread of its own: rooms are their threads'.

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::operation::{Operation, contains, give_back, has_room, take};

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 1).expect("a layout")
}

fn free(block: usize, layout: Layout) -> bool {
    // SAFETY: each block of these tests came from `take` for that layout and is freed once, or is none of ours.
    unsafe { give_back(block as *mut u8, layout) }
}

#[test]
fn blocks_are_apart_and_become_one_again_when_they_are_back() {
    let _operation = Operation::begin(0).expect("there is memory");
    // All there is, in one piece: nothing is in use before and after.
    let all = |size: usize| {
        let block = take(bytes(size)) as usize;
        block != 0 && free(block, bytes(size))
    };
    assert!(all(1 << 20) && !all((1 << 20) + 4096));
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut live: Vec<(usize, usize)> = Vec::new();
    for _ in 0..20_000 {
        if next(2) == 0 || live.is_empty() {
            let size = 1 + next(3_000);
            let block = take(bytes(size)) as usize;
            if block == 0 {
                continue;
            }
            assert_eq!(block % 16, 0);
            assert!(contains(block as *const u8) && contains((block + size - 1) as *const u8));
            for &(other, length) in &live {
                assert!(block + size <= other || other + length <= block, "two blocks overlap");
            }
            live.push((block, size));
        } else {
            let (block, size) = live.swap_remove(next(live.len()));
            assert!(free(block, bytes(size)));
        }
    }
    assert!(live.len() > 10);
    for (block, size) in live {
        assert!(free(block, bytes(size)));
    }
    assert!(all(1 << 20));
    assert!(take(Layout::from_size_align(64, 4096).expect("a layout")).is_null(), "nothing of ours is aligned so");
}

#[test]
fn a_room_is_its_thread_s_and_lives_as_long_as_its_blocks() {
    let operation = Operation::begin(100).expect("there is memory");
    let (one, other) = (take(bytes(40)) as usize, take(bytes(7)) as usize);
    assert!(one != 0 && other != 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(take(bytes(1)).is_null(), "it belongs to another thread");
            assert!(has_room(usize::MAX), "which has no operation");
            // What an operation returns may be freed anywhere.
            assert!(free(one, bytes(40)));
        });
    });
    drop(operation);
    assert!(take(bytes(1)).is_null());
    assert!(contains(other as *const u8));
    assert!(free(other, bytes(7)));
    assert!(!contains(other as *const u8), "it is unmapped");
    let mut elsewhere = 0u8;
    assert!(!free(&raw mut elsewhere as usize, bytes(1)) && !contains(NonNull::<u8>::dangling().as_ptr()));
}

#[test]
fn an_operation_grows_until_its_room_is_used() {
    assert!(Operation::begin(usize::MAX).is_none() && Operation::begin(1 << 60).is_none());
    let _operation = Operation::begin(0).expect("there is memory");
    assert!(has_room(1 << 20) && has_room(64 << 20));
    let inner = Operation::begin(0).expect("there is memory");
    let block = take(bytes(4 << 20)) as usize;
    assert!(block != 0, "the outer one's is there too");
    assert!(!has_room(0));
    drop(inner);
    assert!(free(block, bytes(4 << 20)));
    assert!(!has_room(0), "memory has run out once");
}

#[test]
fn what_has_no_room_counts_as_refused_too() {
    let _operation = Operation::begin(0).expect("there is memory");
    assert!(has_room(0) && take(bytes(1 << 40)).is_null());
    assert!(!has_room(0));
}

#[test]
fn an_operation_that_cannot_grow_is_over() {
    let _operation = Operation::begin(0).expect("there is memory");
    assert!(!has_room(1 << 60), "no address space has that");
    assert!(take(bytes(1)).is_null());
    assert!(!has_room(0), "memory has run out once");
}

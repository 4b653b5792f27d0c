//! Tests of [`crate::ring`]; apart from it because `tests/ring_model.rs` compiles the same file with loom's atomics.

use std::sync::Arc;

use crate::ring::Ring;
use crate::sync::AtomicU64;

fn ring(words: usize) -> Ring<Vec<AtomicU64>> {
    Ring::new((0..words).map(|_| AtomicU64::new(0)).collect())
}

#[test]
fn a_record_comes_out_as_it_went_in() {
    let ring = ring(16);
    let taken = ring.reserve(3).expect("an empty ring has room");
    assert_eq!(ring.peek(), None, "nothing is published yet");
    ring.write(taken, 1, 11);
    ring.write(taken, 2, 22);
    ring.publish(taken, 7);
    let (position, header) = ring.peek().expect("published");
    assert_eq!((header, ring.read(position, 1), ring.read(position, 2)), (7, 11, 22));
    ring.release(position, 3);
    assert_eq!(ring.peek(), None);
}

#[test]
fn a_full_ring_refuses_and_recovers() {
    let ring = ring(8);
    let first = ring.reserve(5).expect("room");
    assert_eq!(ring.reserve(4), None, "5 + 4 words do not fit in 8");
    ring.publish(first, 1);
    let (position, _) = ring.peek().expect("published");
    ring.release(position, 5);
    assert!(ring.reserve(8).is_some(), "all of it is free again");
}

#[test]
fn a_ring_is_half_full_from_the_first_word_of_its_second_half() {
    let ring = ring(8);
    let first = ring.reserve(4).expect("room");
    assert!(!ring.is_half_full());
    ring.publish(first, 1);
    ring.reserve(1).expect("room");
    assert!(ring.is_half_full());
    ring.release(first.position, 4);
    assert!(!ring.is_half_full());
}

#[test]
fn an_unpublished_record_holds_up_those_behind_it() {
    let ring = ring(16);
    let slow = ring.reserve(2).expect("room");
    let quick = ring.reserve(2).expect("room");
    ring.publish(quick, 2);
    assert_eq!(ring.peek(), None);
    ring.publish(slow, 1);
    assert_eq!(ring.peek().map(|(_, header)| header), Some(1));
    ring.release(0, 2);
    assert_eq!(ring.peek().map(|(_, header)| header), Some(2));
}

#[test]
fn pairs_go_round_the_end_and_no_further() {
    let ring = ring(16);
    for _ in 0..16 {
        let taken = ring.reserve(10).expect("room");
        let next = ring.reserve(4).expect("room");
        for index in [2, 4, 6, 8, 10, 12] {
            let room = 10u64.saturating_sub(index) / 2;
            let mut pairs = ring.pairs_of(taken, index);
            let written: usize =
                (0..3).map(|round| pairs.write((2 * round..2 * round + 2).map(|n| [n, 100 + n]))).sum();
            assert_eq!(written as u64, room);
            for pair in 0..room {
                let at = index + 2 * pair;
                assert_eq!([ring.read(taken.position, at), ring.read(taken.position, at + 1)], [pair, 100 + pair]);
            }
        }
        assert!((0..4).all(|at| ring.read(next.position, at) == 0), "they belong to the next record");
        ring.release(taken.position, 10);
        ring.release(next.position, 4);
    }
    let odd = ring.reserve(3).expect("room");
    assert_eq!(ring.pairs_of(odd, 1).write([[1, 2]].into_iter()), 0, "pairs are at even positions");
}

#[test]
fn no_write_leaves_its_reservation() {
    let ring = ring(8);
    let taken = ring.reserve(2).expect("room");
    ring.write(taken, 2, 99);
    let next = ring.reserve(2).expect("room");
    assert_eq!(ring.read(next.position, 0), 0, "word 2 belongs to the next record");
}

/// Four writers and a reader over a small ring: each record is seen once, whole, and in its writer's order.
#[test]
fn writers_race_and_nothing_is_lost_or_torn() {
    const RECORDS: u64 = 20_000;
    let ring = Arc::new(ring(256));
    let writers: Vec<_> = (1..=4u64)
        .map(|writer| {
            let ring = Arc::clone(&ring);
            std::thread::spawn(move || {
                let mut sent = 0;
                while sent < RECORDS {
                    let length = 2 + (sent % 5);
                    let Some(taken) = ring.reserve(length) else {
                        std::thread::yield_now();
                        continue;
                    };
                    for index in 1..length {
                        ring.write(taken, index, (writer << 32) | sent);
                    }
                    ring.publish(taken, (writer << 32) | (sent << 8) | length);
                    sent += 1;
                }
            })
        })
        .collect();
    let mut next = [0u64; 5];
    while next[1..].iter().sum::<u64>() < 4 * RECORDS {
        let Some((position, header)) = ring.peek() else {
            std::thread::yield_now();
            continue;
        };
        let (writer, sequence, length) = (header >> 32, (header >> 8) & 0xff_ffff, header & 0xff);
        assert_eq!(sequence, next[writer as usize]);
        for index in 1..length {
            assert_eq!(ring.read(position, index), (writer << 32) | sequence);
        }
        next[writer as usize] += 1;
        ring.release(position, length);
    }
    for writer in writers {
        writer.join().expect("no writer panics");
    }
}

//! Every interleaving of the ring's protocol, by loom: the source file itself, with loom's atomics in place of std's.
//!
//! Each model is as small as shows its point, for the interleavings grow with every step. That they can fail was seen: with
//! any one of the four Acquire and Release orderings of the ring weakened to Relaxed, one of them does.

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use ring::Ring;

#[expect(dead_code, reason = "the models use the part that is lock-free")]
#[path = "../src/ring.rs"]
mod ring;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

type SmallRing = Ring<Vec<AtomicU64>>;

fn ring(words: usize) -> Arc<SmallRing> {
    Arc::new(Ring::new((0..words).map(|_| AtomicU64::new(0)).collect()))
}

/// Writes one record of four words: `number`, and as frames are written, ten times that and one more.
fn write(ring: &SmallRing, number: u64) -> bool {
    let Some(taken) = ring.reserve(4) else { return false };
    assert_eq!(ring.read(taken.position, 0), 0, "a reserved record looks unpublished");
    let written = ring.pairs_of(taken, 2).write([[number * 10, number * 10 + 1], [7, 7]].into_iter());
    assert_eq!(written, 1, "there is room for one");
    ring.publish(taken, number);
    true
}

/// Takes the front record, which must be whole; its number.
fn take(ring: &SmallRing) -> Option<u64> {
    let (position, header) = ring.peek()?;
    let payload = [ring.read(position, 2), ring.read(position, 3)];
    assert_eq!(payload, [header * 10, header * 10 + 1], "the payload is there when the header is");
    ring.release(position, 4);
    Some(header)
}

/// A record is seen whole or not at all.
///
/// The reader is the spawned thread: loom 0.7.3 does not look for interleavings with a load that is followed by an exchange
/// of the same word in the spawned thread, as `reserve` has it.
#[test]
fn what_is_published_is_whole() {
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&seen);
    loom::model(move || {
        let ring = ring(4);
        let reader = loom::thread::spawn({
            let ring = Arc::clone(&ring);
            move || take(&ring).is_some()
        });
        assert!(write(&ring, 1), "an empty ring has room");
        if reader.join().expect("the reader's own assertions hold") {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert!(seen.load(std::sync::atomic::Ordering::Relaxed) > 0, "the reader came in between in some interleaving");
}

/// Words that the reader gives back come to the next writer zeroed.
#[test]
fn words_are_zero_when_they_are_used_again() {
    loom::model(|| {
        let ring = ring(4);
        assert!(write(&ring, 1));
        let writer = loom::thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                while !write(&ring, 2) {
                    loom::thread::yield_now();
                }
            }
        });
        assert_eq!(take(&ring), Some(1));
        writer.join().expect("the writer's own assertions hold");
        assert_eq!(take(&ring), Some(2));
    });
}

/// Two writers never get the same words, and the reader gets both records.
#[test]
fn writers_do_not_share_words() {
    loom::model(|| {
        let ring = ring(8);
        let writer = loom::thread::spawn({
            let ring = Arc::clone(&ring);
            move || assert!(write(&ring, 1), "there is room for two")
        });
        assert!(write(&ring, 2), "there is room for two");
        writer.join().expect("the writer's own assertions hold");
        let mut taken = [take(&ring), take(&ring)];
        taken.sort_unstable();
        assert_eq!(taken, [Some(1), Some(2)]);
    });
}

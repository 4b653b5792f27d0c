//! The death of a code object against the handler that recorded it, the collector that names it, and the next code object at
//! the same address.
//!
//! Caught: `retire` that keeps nothing, or gives the position 0, or one too far; `resolve` that compares the position with `<=`;
//! `forget_dead_before` that forgets one record too many; a handler that marks only after its thread has gone on.

use std::sync::Mutex as StdMutex;

use interpreter::{Fault, Identity, Layout, Memory};
use loom::cell::UnsafeCell;
use loom::sync::Arc;

use crate::code_filter::CodeFilter;
use crate::retirement::retire;
use crate::ring::Ring;
use crate::symbols::Symbols;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::{explore, words};

const CODE: u64 = 0x10_000;

/// The memory of the code object: its name is `f` and a digit, and loom sees who reads while another writes.
struct Heap(UnsafeCell<u64>);

// SAFETY: what the model shows is that its uses never meet; loom checks each.
unsafe impl Sync for Heap {}

impl Memory for Heap {
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        // SAFETY: loom checks that nobody writes meanwhile.
        let number = self.0.with(|number| unsafe { *number });
        // A code object of 3.12 with its two strings and an empty line table, as the layout's table has it.
        Ok(match address {
            _ if address == CODE + 16 => 4,
            _ if address == CODE + 64 => 7 << 32,
            _ if address == CODE + 112 || address == CODE + 128 => 0x20_000,
            _ if address == CODE + 136 => 0x40_000,
            _ if address == CODE + 176 => 0,
            0x2_0010 => 2,
            0x2_0020 => 1 << 2 | 1 << 5 | 1 << 6,
            0x2_0028 => u64::from(b'f') | (u64::from(b'0') + number) << 8,
            0x4_0010 => 0,
            _ => return Err(Fault),
        })
    }
}

struct World {
    ring: Ring<Vec<AtomicU64>>,
    filter: CodeFilter<Vec<AtomicU64>>,
    symbols: Mutex<Symbols>,
    heap: Heap,
    /// References to the code object.
    references: AtomicU32,
}

fn world(references: u32) -> Arc<World> {
    let identity =
        Identity { hexversion: 0x030c_01f0, free_threaded: false, debug: false, trace_refs: false, is_cpython: true };
    let layout = Layout::detect(&identity, &Heap(UnsafeCell::new(0)), 0).expect("3.12 has a table");
    Arc::new(World {
        ring: Ring::new(words(8)),
        filter: CodeFilter::of(words(1)),
        symbols: Mutex::new(Symbols::new(layout, String::new(), 1 << 20)),
        heap: Heap(UnsafeCell::new(1)),
        references: AtomicU32::new(references),
    })
}

/// A handler on a thread that runs the code: a record of two words with the number of the code object that it means.
fn sample(world: &World, number: u64) {
    let taken = world.ring.reserve(2).expect("there is room");
    world.filter.mark(CODE);
    world.ring.write(taken, 1, number);
    world.ring.publish(taken, 1);
}

/// Lets go of the code object; the last one deallocates it, and another comes to its place.
fn let_go(world: &World) {
    if world.references.fetch_sub(1, Ordering::AcqRel) == 1 {
        retire(&world.ring, &world.filter, &world.symbols, &world.heap, CODE);
        // SAFETY: loom checks that nobody reads meanwhile.
        world.heap.0.with_mut(|number| unsafe { *number += 1 });
    }
}

/// One round of the collector: how many records there were, each named right.
fn collect(world: &World) -> usize {
    let mut taken = 0;
    while let Some((position, _)) = world.ring.peek() {
        let number = world.ring.read(position, 1);
        let name = {
            let mut symbols = world.symbols.lock().expect("nobody panics");
            symbols.resolve(&world.heap, CODE, position).expect("a code object").code.name.clone()
        };
        assert_eq!(name, format!("f{number}"), "the record at {position} means the code object of its time");
        world.ring.release(position, 2);
        taken += 1;
    }
    let mut symbols = world.symbols.lock().expect("nobody panics");
    symbols.forget_dead_before(world.ring.drained_position());
    taken
}

/// The thread that was sampled frees the code object, and is sampled in the next one there, while the collector reads.
#[test]
fn a_record_is_named_by_what_lived_there_then() {
    explore(3, || {
        let world = world(1);
        let thread = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                sample(&world, 1);
                let_go(&world);
                sample(&world, 2);
            })
        };
        let mut taken = collect(&world);
        taken += collect(&world);
        thread.join().expect("the thread's own assertions hold");
        taken += collect(&world);
        assert_eq!(taken, 2);
    });
}

/// Another thread has the last reference.
#[test]
fn whoever_frees_it_knows_of_every_sample() {
    let named = std::sync::Arc::new(StdMutex::new(0));
    let counted = std::sync::Arc::clone(&named);
    explore(2, move || {
        let world = world(2);
        let threads: Vec<_> = [true, false]
            .map(|is_sampled| {
                let world = Arc::clone(&world);
                loom::thread::spawn(move || {
                    if is_sampled {
                        sample(&world, 1);
                    }
                    let_go(&world);
                })
            })
            .into();
        let mut taken = collect(&world);
        for thread in threads {
            thread.join().expect("the thread's own assertions hold");
        }
        sample(&world, 2);
        taken += collect(&world);
        assert_eq!(taken, 2);
        *counted.lock().expect("nobody panics") += taken;
    });
    assert!(*named.lock().expect("nobody panics") > 0);
}

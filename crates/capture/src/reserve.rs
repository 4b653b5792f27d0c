//! The extension's allocator: the C library's, with a reserve for the moment in which that has nothing left.
//!
//! Rust ends the process when an allocation fails that nobody expected to fail. Inside somebody else's program that must not
//! be: so there is a mebibyte which the allocator falls back to, and whoever uses it sees [`has_run_out`] and comes to an end
//! in good order. The collector looks after every record, and what it allocates for one is far less than the reserve; what
//! may be larger than the reserve (tables that double, a copy of everything) asks beforehand whether it can be had. What is done
//! with a finished profile has room of its own ([`crate::operation`]).
//!
//! The reserve is zeroed static memory: it takes address space from when the extension is loaded, and no page of it exists
//! before it is written to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::operation;

/// A record's call for memory is some 200 KiB at most: the columns of a timeline's chunk, a name of 64 Ki characters.
const SIZE_BYTES: usize = 1 << 20;

/// Blocks start on its alignment at most; nothing of ours asks for more.
const ALIGNMENT_BYTES: usize = 4096;

#[repr(C, align(4096))]
struct Room(UnsafeCell<[u8; SIZE_BYTES]>);

// SAFETY: every byte of it belongs to one block, and `Reserve::take` gives each block out once.
unsafe impl Sync for Room {}

/// Memory that is given out from front to back, and from the front again once all blocks are back.
struct Reserve {
    room: Room,
    /// Blocks that are out, and behind them in the lower half the bytes given out.
    taken: AtomicU64,
}

impl Reserve {
    const fn new() -> Self {
        Self { room: Room(UnsafeCell::new([0; SIZE_BYTES])), taken: AtomicU64::new(0) }
    }

    /// A block, or null where there is no room for it.
    #[cold]
    fn take(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGNMENT_BYTES {
            return std::ptr::null_mut();
        }
        let mut seen = self.taken.load(Ordering::Acquire);
        loop {
            let (blocks, bytes) = (seen >> 32, seen as u32 as usize);
            let start = bytes.next_multiple_of(layout.align());
            let Some(end) = start.checked_add(layout.size()).filter(|end| *end <= SIZE_BYTES) else {
                return std::ptr::null_mut();
            };
            match self.taken.compare_exchange_weak(
                seen,
                (blocks + 1) << 32 | end as u64,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                // In range: `start` is at most `SIZE_BYTES`.
                Ok(_) => return self.room.0.get().cast::<u8>().wrapping_add(start),
                Err(now) => seen = now,
            }
        }
    }

    fn contains(&self, block: *const u8) -> bool {
        (block as usize).wrapping_sub(self.room.0.get() as usize) < SIZE_BYTES
    }

    /// A block that [`Self::take`] gave comes back.
    #[cold]
    fn give_back(&self) {
        let fewer = |taken: u64| if taken >> 32 == 1 { 0 } else { taken - (1 << 32) };
        let mut seen = self.taken.load(Ordering::Acquire);
        while let Err(now) = self.taken.compare_exchange_weak(seen, fewer(seen), Ordering::AcqRel, Ordering::Acquire) {
            seen = now;
        }
    }
}

static RESERVE: Reserve = Reserve::new();
static HAS_RUN_OUT: AtomicBool = AtomicBool::new(false);

/// Whether the reserve has been used since [`expect_memory`]: nothing large should be begun.
pub(crate) fn has_run_out() -> bool {
    HAS_RUN_OUT.load(Ordering::SeqCst)
}

/// Whether little of the reserve is left, so that nothing should be begun that can be refused.
pub fn is_low() -> bool {
    RESERVE.taken.load(Ordering::Relaxed) as u32 as usize > SIZE_BYTES / 2
}

/// Somebody was refused memory that the reserve is too small for, and can do without.
pub(crate) fn run_out() {
    HAS_RUN_OUT.store(true, Ordering::SeqCst);
}

/// A new session begins, which may find memory again.
pub(crate) fn expect_memory() {
    HAS_RUN_OUT.store(false, Ordering::SeqCst);
}

/// Whether a block of that size can be had now. It is given back at once, so this says nothing of a while later.
pub(crate) fn can_be_had(bytes: usize) -> bool {
    let Ok(layout) = Layout::array::<u8>(bytes.max(1)) else { return false };
    // Past the reserve, which is not for those who can do without.
    // SAFETY: the layout is not of size 0, and the block goes back with the layout with which it came.
    unsafe {
        let block = System.alloc(layout);
        if !block.is_null() {
            System.dealloc(block, layout);
        }
        !block.is_null()
    }
}

/// The allocator of the extension: `#[global_allocator]` in `crates/python`.
#[derive(Debug)]
pub struct Allocator;

fn from_reserve(layout: Layout) -> *mut u8 {
    // Who has made sure of room beforehand needs none of the reserve, and ends nobody's recording.
    let block = operation::take(layout);
    if !block.is_null() {
        return block;
    }
    let block = RESERVE.take(layout);
    if !block.is_null() {
        run_out();
    }
    block
}

// SAFETY: a block is the C library's, an operation's or the reserve's; those of the latter two are disjoint, aligned, as large as asked for and
// known by their address. Nothing here unwinds.
//
// Never inlined: there are thousands of places that allocate, and the copies made the extension 0.23 MB larger.
unsafe impl GlobalAlloc for Allocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { from_reserve(layout) } else { block }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = from_reserve(layout);
        if !block.is_null() {
            // SAFETY: a block of that size that nobody else has; another may have used it before.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if RESERVE.contains(block) {
            RESERVE.give_back();
            return;
        }
        // SAFETY: the caller's.
        if !unsafe { operation::give_back(block, layout) } {
            // SAFETY: neither the reserve's nor an operation's, so the C library's.
            unsafe { System.dealloc(block, layout) };
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !RESERVE.contains(block) && !operation::contains(block) {
            // SAFETY: neither the reserve's nor an operation's, so the C library's.
            let moved = unsafe { System.realloc(block, layout, new_size) };
            if !moved.is_null() {
                return moved;
            }
        } else if new_size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `new_size` is one for this alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: as above; the old block, which is still valid, and the new one are as large as what is copied.
        unsafe {
            let moved = self.alloc(new_layout);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    #[test]
    fn blocks_are_apart_aligned_and_inside() {
        // Not on the stack, which it is too large for.
        static OWN: Reserve = Reserve::new();
        let reserve = &OWN;
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 1), (100, 64), (5, 4096), (7, 16)] {
            let block = reserve.take(layout(size, align));
            assert_eq!(block as usize % align, 0);
            assert!(block as usize >= end, "{size} bytes overlap the block before");
            end = block as usize + size;
            assert!(reserve.contains(block) && reserve.contains((end - 1) as *const u8));
        }
        assert!(!reserve.contains((reserve.room.0.get() as usize + SIZE_BYTES) as *const u8));
        assert!(!reserve.contains((reserve.room.0.get() as usize - 1) as *const u8));
    }

    #[test]
    fn what_has_no_room_is_refused_and_room_comes_back_with_the_last_block() {
        // Not on the stack, which it is too large for.
        static OWN: Reserve = Reserve::new();
        let reserve = &OWN;
        let first = reserve.take(layout(SIZE_BYTES - 8, 8));
        let second = reserve.take(layout(8, 8));
        assert!(!first.is_null() && !second.is_null());
        assert!(reserve.take(layout(1, 1)).is_null());
        assert!(reserve.take(layout(usize::MAX / 4, 1)).is_null());
        assert!(reserve.take(layout(1, 8192)).is_null());
        reserve.give_back();
        assert!(reserve.take(layout(1, 1)).is_null(), "one block is still out");
        reserve.give_back();
        assert_eq!(reserve.take(layout(SIZE_BYTES, 8)), first);
    }

    #[test]
    fn threads_get_blocks_of_their_own() {
        // Not on the stack, which it is too large for.
        static OWN: Reserve = Reserve::new();
        let reserve = &OWN;
        let starts: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).map(|_| reserve.take(layout(64, 8)) as usize).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let distinct: std::collections::HashSet<_> = starts.iter().map(|start| start / 64).collect();
        assert_eq!(distinct.len(), 4000);
    }

    #[test]
    fn a_block_that_grows_keeps_its_content() {
        // The process's own reserve: this test is its only user here.
        let block = from_reserve(layout(16, 8));
        // SAFETY: blocks of these layouts, used within their sizes and freed once.
        unsafe {
            block.copy_from_nonoverlapping(b"0123456789abcdef".as_ptr(), 16);
            let grown = Allocator.realloc(block, layout(16, 8), 4096);
            assert!(!RESERVE.contains(grown), "there is memory again");
            assert_eq!(std::slice::from_raw_parts(grown, 16), b"0123456789abcdef");
            // More than any address space has.
            assert!(Allocator.realloc(grown, layout(4096, 8), isize::MAX as usize & !7).is_null());
            assert_eq!(std::slice::from_raw_parts(grown, 16), b"0123456789abcdef", "as it was");
            Allocator.dealloc(grown, layout(4096, 8));
        }
        assert!(has_run_out());
        assert_eq!(RESERVE.taken.load(Ordering::Relaxed), 0);
        expect_memory();
        assert!(!has_run_out() && can_be_had(1 << 20) && !can_be_had(isize::MAX as usize));
    }
}

//! Room for one operation on a finished profile: memory that is there before it begins, for when the C library has none left.
//!
//! What a view or a writer allocates cannot be refused half-way: Rust ends the process then. So whoever begins one asks
//! beforehand for as much room as it may need at once ([`Operation::begin`]), and is told at once if that cannot be had. While the
//! operation lives, what the C library refuses to its thread comes from there. Operations without a bound ask for more room as
//! they grow, and end when it has been used ([`has_room`]).
//!
//! Only the thread that began an operation takes blocks of its room and puts them back, so that part needs no lock. A block may
//! be freed by anyone at any time, results outlive their operation: blocks are counted, and the room goes with the last.

use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use memmap2::{MmapMut, MmapOptions};

use crate::{fork, platform};

/// Operations at a time, and results of earlier ones that live in their room. Without a place an operation does without.
const PLACES: usize = 64;

/// What blocks begin at and end at multiples of, so that the head of a free one has room in each.
const UNIT_BYTES: usize = 16;

/// Added to what is asked for: small things that no bound counts, and what splitting blocks leaves over.
const SLACK_BYTES: usize = 1 << 20;

/// A place is the number of the page it begins with, and in these bits how many pages it has; 0 is nowhere.
const PAGES_BITS: u32 = 28;
const PAGE_BYTES: usize = 4096;

/// The head of a free block. They are linked in the order of their addresses, and no two of them touch.
struct Free {
    size: usize,
    next: *mut Free,
}

/// What only the thread of the operation uses.
struct Own {
    mapping: Option<MmapMut>,
    first_free: *mut Free,
    /// The C library or the system has refused something, whether or not there was room for it here.
    is_needed: bool,
}

struct Room {
    is_taken: AtomicBool,
    /// Page and number of pages.
    place: AtomicU64,
    /// The thread of the operation; 0 when that is over.
    thread: AtomicU64,
    /// Blocks that are out, and one for the operation.
    users: AtomicUsize,
    own: UnsafeCell<Own>,
}

// SAFETY: `own` is used by one thread at a time: by the one whose operation it is, then by whoever makes `users` 0.
unsafe impl Sync for Room {}
// SAFETY: the pointers in it are to the room's own memory, which belongs to no thread.
unsafe impl Send for Room {}

static ROOMS: [Room; PLACES] = [const { Room::new() }; PLACES];
/// Rooms from here on were never used.
static END: AtomicUsize = AtomicUsize::new(0);

fn rooms() -> &'static [Room] {
    ROOMS.get(..END.load(Ordering::Acquire)).unwrap_or_default()
}

impl Room {
    const fn new() -> Self {
        let own = Own { mapping: None, first_free: null_mut(), is_needed: false };
        Self {
            is_taken: AtomicBool::new(false),
            place: AtomicU64::new(0),
            thread: AtomicU64::new(0),
            users: AtomicUsize::new(0),
            own: UnsafeCell::new(own),
        }
    }

    fn contains(&self, block: *const u8) -> bool {
        // One word, so that a beginning is never seen with another's end. Whoever has a block of this room was given it after the
        // place was set, and nobody else can have memory there before the place is cleared and the mapping is gone.
        let place = self.place.load(Ordering::Acquire);
        let start = (place >> PAGES_BITS) as usize * PAGE_BYTES;
        let size = (place & ((1 << PAGES_BITS) - 1)) as usize * PAGE_BYTES;
        (block as usize).wrapping_sub(start) < size
    }

    /// Whether this is the room of an operation of the calling thread.
    fn is_own(&self) -> bool {
        self.thread.load(Ordering::Acquire) == platform::own_python_id()
    }

    /// Maps `bytes` and more, all free. `false` where that cannot be had.
    ///
    /// # Safety
    /// The room is the calling thread's alone, and holds no block.
    unsafe fn map(&self, bytes: usize) -> bool {
        // SAFETY: promised by the caller.
        let own = unsafe { &mut *self.own.get() };
        // First what is there goes: where little is left, both have no room beside each other.
        self.place.store(0, Ordering::Release);
        own.mapping = None;
        own.first_free = null_mut();
        // If this fails, that is the end of the operation.
        own.is_needed = true;
        let Some(size) = bytes.checked_add(SLACK_BYTES).and_then(|size| size.checked_next_multiple_of(PAGE_BYTES))
        else {
            return false;
        };
        // Nothing of it is kept free by the system until it is written to, unless the system counts what is mapped.
        let Ok(mut mapping) = MmapOptions::new().len(size).no_reserve_swap().map_anon() else { return false };
        let start = mapping.as_mut_ptr();
        let (page, pages) = ((start as usize / PAGE_BYTES) as u64, (size / PAGE_BYTES) as u64);
        if page >> (u64::BITS - PAGES_BITS) != 0 || pages >> PAGES_BITS != 0 {
            return false;
        }
        let whole = start.cast::<Free>();
        // SAFETY: the beginning of the mapping, which is aligned to its pages and larger than this.
        unsafe { whole.write(Free { size, next: null_mut() }) };
        *own = Own { mapping: Some(mapping), first_free: whole, is_needed: false };
        self.place.store(page << PAGES_BITS | pages, Ordering::Release);
        true
    }

    /// A block, or null where there is no room for it.
    ///
    /// # Safety
    /// [`Self::is_own`].
    unsafe fn take(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        let own = unsafe { &mut *self.own.get() };
        own.is_needed = true;
        let Some(size) = block_bytes(layout) else { return null_mut() };
        let mut link: *mut *mut Free = &raw mut own.first_free;
        // SAFETY: `link` is the first link or that in a free block, and what it leads to is null or a free block: memory of the
        // mapping that nobody uses.
        unsafe {
            while !(*link).is_null() {
                let block = *link;
                let Free { size: there, next } = *block;
                if there >= size {
                    *link = if there == size {
                        next
                    } else {
                        let rest = block.cast::<u8>().add(size).cast::<Free>();
                        rest.write(Free { size: there - size, next });
                        rest
                    };
                    self.users.fetch_add(1, Ordering::Relaxed);
                    return block.cast();
                }
                link = &raw mut (*block).next;
            }
        }
        null_mut()
    }

    /// A block that [`Self::take`] gave for `layout` comes back.
    ///
    /// # Safety
    /// It did, and nobody uses the block any more.
    unsafe fn give_back(&self, block: *mut u8, layout: Layout) {
        if self.is_own()
            && let Some(size) = block_bytes(layout)
        {
            // SAFETY: it is the calling thread's, and the block of that size is nobody's.
            unsafe { self.put(block.cast(), size) };
        }
        self.leave();
    }

    /// Puts a block among the free ones, as one with those that it touches.
    ///
    /// # Safety
    /// [`Self::is_own`]; the block is part of the mapping, and nobody's.
    unsafe fn put(&self, block: *mut Free, mut size: usize) {
        // SAFETY: as in `take`; the blocks on both sides stay apart from this one, or become one with it.
        unsafe {
            let own = &mut *self.own.get();
            let mut before: *mut Free = null_mut();
            let mut next = own.first_free;
            while !next.is_null() && next < block {
                before = next;
                next = (*next).next;
            }
            if !next.is_null() && block.cast::<u8>().add(size) == next.cast() {
                size += (*next).size;
                next = (*next).next;
            }
            if !before.is_null() && before.cast::<u8>().add((*before).size) == block.cast() {
                (*before).size += size;
                (*before).next = next;
                return;
            }
            block.write(Free { size, next });
            if before.is_null() {
                own.first_free = block;
            } else {
                (*before).next = block;
            }
        }
    }

    /// One user less. The last one unmaps the room.
    fn leave(&self) {
        // Release, with the Acquire of the last: all use of the room comes before its end.
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.place.store(0, Ordering::Release);
            // SAFETY: the operation is over and no block is left, so there is nobody else.
            let own = unsafe { &mut *self.own.get() };
            own.mapping = None;
            own.first_free = null_mut();
            self.is_taken.store(false, Ordering::Release);
        }
    }
}

/// What a block takes; `None` for what no room has.
fn block_bytes(layout: Layout) -> Option<usize> {
    let size = layout.size().max(UNIT_BYTES).checked_next_multiple_of(UNIT_BYTES)?;
    (layout.align() <= UNIT_BYTES).then_some(size)
}

/// A block for the calling thread from the room of its operation; null where it has none, or too little.
#[cold]
pub(crate) fn take(layout: Layout) -> *mut u8 {
    for room in rooms().iter().filter(|room| room.is_own()) {
        // SAFETY: it is the calling thread's.
        let block = unsafe { room.take(layout) };
        if !block.is_null() {
            return block;
        }
    }
    null_mut()
}

/// Takes a block back if it came from [`take`]; `false` if it did not.
///
/// # Safety
/// The block came from this extension's allocator for `layout`, and nobody uses it any more.
pub(crate) unsafe fn give_back(block: *mut u8, layout: Layout) -> bool {
    let Some(room) = rooms().iter().find(|room| room.contains(block)) else { return false };
    // SAFETY: promised by the caller.
    unsafe { room.give_back(block, layout) };
    true
}

/// Whether a block came from [`take`].
pub(crate) fn contains(block: *const u8) -> bool {
    rooms().iter().any(|room| room.contains(block))
}

/// Whether the operation of the calling thread may go on, for which `bytes` may be needed at once: nothing was refused to it so far,
/// and there is room for as much. `true` outside of an operation.
pub fn has_room(bytes: usize) -> bool {
    let mut largest = 0;
    let mut last = None;
    // More than one where an operation began within another.
    for room in rooms().iter().filter(|room| room.is_own()) {
        // SAFETY: it is the calling thread's; the reference ends here.
        let (is_needed, size) = unsafe {
            let own = &*room.own.get();
            (own.is_needed, own.mapping.as_ref().map_or(0, |mapping| mapping.len()))
        };
        if is_needed {
            return false;
        }
        largest = largest.max(size);
        last = Some(room);
    }
    // SAFETY: it is the calling thread's, and no block was taken from it.
    last.is_none_or(|room| largest >= bytes || unsafe { room.map(bytes) })
}

/// In a fork's child: the operations are the parent's, and other threads may have been in the middle of a change of theirs.
#[cfg(unix)]
pub(crate) fn forget_all() {
    for room in rooms() {
        room.thread.store(0, Ordering::SeqCst);
    }
}

/// An operation of the thread that made it. It ends when this is dropped.
#[derive(Debug)]
pub struct Operation {
    room: Option<&'static Room>,
    /// Of one thread.
    thread: PhantomData<*mut ()>,
}

impl Operation {
    /// Begins one that may need `bytes` at once. `None` where that cannot be had, and then nothing should be begun.
    #[must_use]
    pub fn begin(bytes: usize) -> Option<Self> {
        fork::register();
        let is_free = |(_, room): &(usize, &Room)| !room.is_taken.swap(true, Ordering::Acquire);
        let Some((number, room)) = ROOMS.iter().enumerate().find(is_free) else {
            return Some(Self { room: None, thread: PhantomData });
        };
        room.users.store(1, Ordering::Relaxed);
        // SAFETY: nobody else took it, and no block of it is left.
        if !unsafe { room.map(bytes) } {
            room.leave();
            return None;
        }
        END.fetch_max(number + 1, Ordering::AcqRel);
        // Release, with the Acquire in `is_own`.
        room.thread.store(platform::own_python_id(), Ordering::Release);
        Some(Self { room: Some(room), thread: PhantomData })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(room) = self.room {
            room.thread.store(0, Ordering::Release);
            room.leave();
        }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("users", &self.users).finish_non_exhaustive()
    }
}

//! Fixed memory straight from the kernel: zeroed, touched page by page as it is used, and given back whole at stop.

use std::io;
use std::marker::PhantomData;

use memmap2::MmapMut;

use crate::slots::Slot;
use crate::sync::AtomicU64;

/// Types for which all-zero memory is a valid value and sharing between threads is sound.
///
/// # Safety
/// An implementor must be valid when all its bytes are zero, contain only atomics, and need no drop.
unsafe trait ZeroedShared: Sync {}

// SAFETY: an atomic integer; 0 is a value.
unsafe impl ZeroedShared for AtomicU64 {}
// SAFETY: all fields are atomic integers; all-zero is a vacant slot.
unsafe impl ZeroedShared for Slot {}

/// A slice of `T` in its own mapping.
pub(crate) struct Pages<T> {
    mapping: MmapMut,
    length: usize,
    contents: PhantomData<T>,
}

#[expect(private_bounds, reason = "who may live in pages is decided in this file")]
impl<T: ZeroedShared> Pages<T> {
    /// `length` zeroed `T`s.
    ///
    /// # Errors
    /// What `mmap(2)` says: no address space or memory left.
    pub(crate) fn zeroed(length: usize) -> io::Result<Self> {
        let size_bytes = length * std::mem::size_of::<T>();
        Ok(Self { mapping: MmapMut::map_anon(size_bytes)?, length, contents: PhantomData })
    }

    /// Size of the mapping in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.mapping.len()
    }
}

impl<T: ZeroedShared> AsRef<[T]> for Pages<T> {
    fn as_ref(&self) -> &[T] {
        // SAFETY: the mapping is page-aligned, holds `length` zeroed `T`s, for which zero is valid, and lives as long as
        // `self`; `T` contains only atomics, so shared references are all that is ever needed.
        unsafe { std::slice::from_raw_parts(self.mapping.as_ptr().cast(), self.length) }
    }
}

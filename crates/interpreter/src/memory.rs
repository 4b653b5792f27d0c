//! Reading memory that may not be there.

/// The memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// A place to read from: this process, or bytes in a test. Little-endian, as every machine we support.
pub trait Memory {
    /// The word at `address`, which must be a multiple of 8.
    ///
    /// # Errors
    /// [`Fault`] if the address is not aligned or not mapped.
    fn read_u64(&self, address: u64) -> Result<u64, Fault>;

    /// The 32 bits at `address`, which must be a multiple of 4.
    ///
    /// # Errors
    /// As [`Self::read_u64`].
    #[inline]
    fn read_u32(&self, address: u64) -> Result<u32, Fault> {
        if !address.is_multiple_of(4) {
            return Err(Fault);
        }
        let word = self.read_u64(address & !7)?;
        Ok((word >> ((address & 4) * 8)) as u32)
    }

    /// The byte at `address`.
    ///
    /// # Errors
    /// As [`Self::read_u64`].
    #[inline]
    fn read_u8(&self, address: u64) -> Result<u8, Fault> {
        let word = self.read_u64(address & !7)?;
        Ok((word >> ((address & 7) * 8)) as u8)
    }

    /// Fills `into` from `address` on.
    ///
    /// # Errors
    /// As [`Self::read_u64`]; `into` is then filled in part.
    fn read_bytes(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let mut at = address;
        let mut rest = into;
        while !rest.is_empty() {
            let bytes = self.read_u64(at & !7)?.to_le_bytes();
            let available = bytes.get((at & 7) as usize..).unwrap_or_default();
            let length = available.len().min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            now.iter_mut().zip(available).for_each(|(to, from)| *to = *from);
            at = at.checked_add(length as u64).ok_or(Fault)?;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! Memory for tests: a few mapped ranges.

    use super::{Fault, Memory};
    use alloc::collections::BTreeMap;

    /// Words by address; what was not written is not mapped.
    #[derive(Default)]
    pub(crate) struct FakeMemory(pub(crate) BTreeMap<u64, u64>);

    impl FakeMemory {
        pub(crate) fn put_u64(&mut self, address: u64, value: u64) {
            assert!(address.is_multiple_of(8));
            self.0.insert(address, value);
        }

        pub(crate) fn put_bytes(&mut self, address: u64, bytes: &[u8]) {
            for (byte, at) in bytes.iter().zip(address..) {
                let word = self.0.entry(at & !7).or_default();
                let shift = (at & 7) * 8;
                *word = *word & !(0xff << shift) | u64::from(*byte) << shift;
            }
        }

        pub(crate) fn put_u32(&mut self, address: u64, value: u32) {
            self.put_bytes(address, &value.to_le_bytes());
        }
    }

    impl Memory for FakeMemory {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            if !address.is_multiple_of(8) {
                return Err(Fault);
            }
            self.0.get(&address).copied().ok_or(Fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeMemory;
    use super::*;

    #[test]
    fn parts_of_words() {
        let mut memory = FakeMemory::default();
        memory.put_u64(0x1000, 0x8877_6655_4433_2211);
        memory.put_u64(0x1008, 0x00ff_eedd_ccbb_aa99);
        assert_eq!(memory.read_u32(0x1004), Ok(0x8877_6655));
        assert_eq!(memory.read_u32(0x1002), Err(Fault));
        assert_eq!(memory.read_u8(0x1003), Ok(0x44));
        let mut bytes = [0; 9];
        assert_eq!(memory.read_bytes(0x1003, &mut bytes), Ok(()));
        assert_eq!(bytes, [0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc]);
        assert_eq!(memory.read_bytes(0x100f, &mut bytes), Err(Fault));
    }
}

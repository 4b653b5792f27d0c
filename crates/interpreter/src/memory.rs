//! Reading memory that may not be there.

/// The memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Where `N` words are, seen from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordOffsets<const N: usize>([u32; N]);

/// Offsets are below this: less than a page of any system.
pub const MAX_OFFSET_BYTES: u32 = 4096;

impl<const N: usize> WordOffsets<N> {
    /// Offsets in bytes; `None` unless each is a multiple of 8 and below [`MAX_OFFSET_BYTES`].
    #[inline]
    pub const fn new(offsets: [u32; N]) -> Option<Self> {
        let mut rest: &[u32] = &offsets;
        while let [offset, others @ ..] = rest {
            if !offset.is_multiple_of(8) || *offset >= MAX_OFFSET_BYTES {
                return None;
            }
            rest = others;
        }
        Some(Self(offsets))
    }

    /// The offsets, in bytes.
    #[inline]
    pub const fn as_array(&self) -> &[u32; N] {
        &self.0
    }
}

/// Words that are read of each link of a chain: the address of the next link first.
pub const LINK_WORDS: usize = 4;

/// Eight words, one behind the other: so many at once when bytes are read.
const BLOCK: WordOffsets<8> = WordOffsets([0, 8, 16, 24, 32, 40, 48, 56]);
const BLOCK_BYTES: usize = 64;

/// A place to read from: this process, or bytes in a test. Little-endian, as every machine we support.
pub trait Memory {
    /// The word at `address`, which must be a multiple of 8.
    ///
    /// # Errors
    /// [`Fault`] if the address is not aligned or not mapped.
    fn read_u64(&self, address: u64) -> Result<u64, Fault>;

    /// The words at `offsets` from `address`, which must be a multiple of 8.
    ///
    /// # Errors
    /// As [`Self::read_u64`], if any of them cannot be read.
    #[inline]
    fn read_words<const N: usize>(&self, address: u64, offsets: &WordOffsets<N>) -> Result<[u64; N], Fault> {
        let mut words = [0; N];
        for (word, offset) in words.iter_mut().zip(offsets.as_array()) {
            *word = self.read_u64(address.wrapping_add(u64::from(*offset)))?;
        }
        Ok(words)
    }

    /// Reads along a chain of structures of which each has the address of the next one in it: of each the words at `offsets`,
    /// the first of which is that address. Begins with the structure at `address`, which must be a multiple of 8, and goes on
    /// until `into` is full, an address is 0, or one of the words cannot be read; what was read before stands.
    ///
    /// Returns how many structures were read. What lies behind them in `into` may be overwritten.
    #[inline]
    fn read_chain(&self, address: u64, offsets: &WordOffsets<LINK_WORDS>, into: &mut [[u64; LINK_WORDS]]) -> usize {
        let mut address = address;
        let mut read = 0;
        for link in into {
            if address == 0 {
                break;
            }
            let Ok(words) = self.read_words(address, offsets) else { break };
            *link = words;
            [address, ..] = words;
            read += 1;
        }
        read
    }

    /// How many of the words at `addresses`, from the first on, are `value`: up to the first that is not, or cannot be read.
    #[inline]
    fn count_equal(&self, addresses: &[u64], value: u64) -> usize {
        addresses.iter().take_while(|address| self.read_u64(**address) == Ok(value)).count()
    }

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
            if at.is_multiple_of(8) && rest.len() >= BLOCK_BYTES {
                let (now, later) = rest.split_at_mut(BLOCK_BYTES);
                let words = self.read_words(at, &BLOCK)?;
                now.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
                at = at.checked_add(BLOCK_BYTES as u64).ok_or(Fault)?;
                rest = later;
                continue;
            }
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
    fn words_beside_each_other() {
        let mut memory = FakeMemory::default();
        memory.put_u64(0x1000, 1);
        memory.put_u64(0x1018, 2);
        let offsets = |offsets| WordOffsets::new(offsets).expect("multiples of 8");
        assert_eq!(memory.read_words(0x1000, &offsets([24, 0, 24])), Ok([2, 1, 2]));
        assert_eq!(memory.read_words(0x1000, &offsets([24, 0, 8])), Err(Fault));
        assert_eq!(memory.read_words(0x1004, &offsets([24, 0, 24])), Err(Fault));
        for wrong in [[0, 4], [4096, 0], [u32::MAX, 0]] {
            assert_eq!(WordOffsets::new(wrong), None, "{wrong:?}");
        }
        assert!(WordOffsets::new([4088, 0]).is_some());
    }

    #[test]
    fn links_of_a_chain_until_one_cannot_be_read() {
        let mut memory = FakeMemory::default();
        for (link, next) in [(0x1000, 0x3000), (0x3000, 0x2000), (0x2000, 0)] {
            memory.put_u64(link + 8, next);
            memory.put_u64(link, link + 1);
        }
        let offsets = WordOffsets::new([8, 0, 0, 8]).expect("multiples of 8");
        let expected = [[0x3000, 0x1001, 0x1001, 0x3000], [0x2000, 0x3001, 0x3001, 0x2000], [0, 0x2001, 0x2001, 0]];
        for room in 0..5 {
            let mut links = alloc::vec![[7; LINK_WORDS]; room];
            let read = memory.read_chain(0x1000, &offsets, &mut links);
            assert_eq!((read, &links[..read]), (room.min(3), &expected[..room.min(3)]));
        }
        let mut links = [[7; LINK_WORDS]; 4];
        assert_eq!(memory.read_chain(0, &offsets, &mut links), 0);
        assert_eq!(memory.read_chain(0x1004, &offsets, &mut links), 0);
        memory.put_u64(0x3008, 0x2001);
        assert_eq!(memory.read_chain(0x1000, &offsets, &mut links), 2);
        memory.0.remove(&0x3000);
        assert_eq!(memory.read_chain(0x1000, &offsets, &mut links), 1);
    }

    #[test]
    fn equal_words_up_to_another() {
        let mut memory = FakeMemory::default();
        for (address, word) in [(0x1000, 5), (0x2000, 5), (0x3000, 6)] {
            memory.put_u64(address, word);
        }
        assert_eq!(memory.count_equal(&[], 5), 0);
        assert_eq!(memory.count_equal(&[0x2000, 0x1000, 0x3000, 0x1000], 5), 2);
        assert_eq!(memory.count_equal(&[0x1000, 0x1004, 0x2000], 5), 1);
        assert_eq!(memory.count_equal(&[0x1000, 0x4000, 0x2000], 5), 1);
    }

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

    #[test]
    fn bytes_from_anywhere_on() {
        let mut memory = FakeMemory::default();
        let all: alloc::vec::Vec<u8> = (0..=255).collect();
        memory.put_bytes(0x1000, &all);
        for start in 0..all.len() {
            for length in (0..all.len() - start).step_by(13) {
                let mut bytes = alloc::vec![0; length];
                assert_eq!(memory.read_bytes(0x1000 + start as u64, &mut bytes), Ok(()));
                assert_eq!(bytes, all[start..start + length], "{length} from {start}");
            }
            let mut more = alloc::vec![0; all.len() - start + 1];
            assert_eq!(memory.read_bytes(0x1000 + start as u64, &mut more), Err(Fault), "{start}");
        }
    }
}

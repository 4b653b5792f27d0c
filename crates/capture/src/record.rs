//! One sample as words in the ring: four words of header, then two for each frame, innermost first.

use interpreter::RawFrame;

use crate::ring::{Reservation, ReservedPairs, Ring};
use crate::sync::AtomicU64;

/// The generation of a record that belongs to nobody, as no owner of a slot has it.
pub(crate) const NOBODY: u32 = 0;

/// Words before the frames.
const HEADER_WORDS: u64 = 4;
/// Words of a frame: code address, then instruction offset.
const FRAME_WORDS: u64 = 2;
/// Set in every published record's first word, so that it is never zero.
const PUBLISHED: u64 = 1 << 63;

/// What is known of a sample beside its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Frames that follow.
    pub(crate) frames: u16,
    /// The thread's slot and the slot's generation.
    pub(crate) slot: u16,
    pub(crate) generation: u32,
    /// `profile::State` bits.
    pub(crate) state: u8,
    /// The stack had more frames than the limit.
    pub(crate) truncated: bool,
    /// Ticks of this thread that found no sample since its last record.
    pub(crate) missed_ticks: u32,
    /// Monotonic time, ns.
    pub(crate) time_ns: u64,
    /// The thread's CPU clock, ns.
    pub(crate) cpu_ns: u64,
}

/// Words that a record of `frames` frames takes.
pub(crate) fn length_words(frames: u64) -> u64 {
    HEADER_WORDS + FRAME_WORDS * frames
}

/// The frames of a reserved record, which are put in one after the other.
pub(crate) struct FrameWriter<'a>(ReservedPairs<'a>);

impl<'a> FrameWriter<'a> {
    /// Before the first frame of the record that is reserved as `taken`; handler-safe.
    pub(crate) fn new<W: AsRef<[AtomicU64]>>(ring: &'a Ring<W>, taken: Reservation) -> Self {
        Self(ring.pairs_of(taken, HEADER_WORDS))
    }

    /// Puts the next frames in, as many as there is room for: returns how many. Handler-safe.
    #[inline]
    pub(crate) fn write(&mut self, frames: &[RawFrame]) -> usize {
        self.0.write(frames.iter().map(|frame| [frame.code_address, u64::from(frame.instruction_offset_bytes as u32)]))
    }
}

/// Writes the header and makes the record visible; handler-safe.
pub(crate) fn publish<W: AsRef<[AtomicU64]>>(ring: &Ring<W>, taken: Reservation, header: Header) {
    ring.write(taken, 1, u64::from(header.generation) | (u64::from(header.missed_ticks) << 32));
    ring.write(taken, 2, header.time_ns);
    ring.write(taken, 3, header.cpu_ns);
    // The reserved length goes along: a walk that found fewer frames than there was room for must not leave words behind.
    let first = u64::from(header.frames)
        | (u64::from(header.slot) << 16)
        | (u64::from(header.state) << 32)
        | (u64::from(header.truncated) << 40)
        | ((taken.length_words & 0x1f_ffff) << 42)
        | PUBLISHED;
    ring.publish(taken, first);
}

/// Gives a reservation up that was not made good use of: the reader passes over it. Handler-safe.
pub(crate) fn abandon<W: AsRef<[AtomicU64]>>(ring: &Ring<W>, taken: Reservation) {
    let nobodys = Header {
        frames: 0,
        slot: 0,
        generation: NOBODY,
        state: 0,
        truncated: false,
        missed_ticks: 0,
        time_ns: 0,
        cpu_ns: 0,
    };
    publish(ring, taken, nobodys);
}

/// A published record, as the collector sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    pub(crate) position: u64,
    pub(crate) length_words: u64,
}

/// The record at the front of the ring.
pub(crate) fn front<W: AsRef<[AtomicU64]>>(ring: &Ring<W>) -> Option<Record> {
    let (position, first) = ring.peek()?;
    let second = ring.read(position, 1);
    Some(Record {
        header: Header {
            frames: first as u16,
            slot: (first >> 16) as u16,
            generation: second as u32,
            state: (first >> 32) as u8,
            truncated: first >> 40 & 1 == 1,
            missed_ticks: (second >> 32) as u32,
            time_ns: ring.read(position, 2),
            cpu_ns: ring.read(position, 3),
        },
        position,
        length_words: first >> 42 & 0x1f_ffff,
    })
}

/// Frame `index` of the front record, innermost first.
pub(crate) fn frame<W: AsRef<[AtomicU64]>>(ring: &Ring<W>, record: &Record, index: u16) -> RawFrame {
    let at = HEADER_WORDS + FRAME_WORDS * u64::from(index);
    RawFrame {
        code_address: ring.read(record.position, at),
        instruction_offset_bytes: ring.read(record.position, at + 1) as u32 as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_record_is_nobodys_and_gives_its_room_back() {
        let ring = Ring::new((0..16).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        for _ in 0..3 {
            let taken = ring.reserve(length_words(4)).expect("the room of the one before is free again");
            let frame = RawFrame { code_address: 8, instruction_offset_bytes: 2 };
            let mut writer = FrameWriter::new(&ring, taken);
            assert_eq!((writer.write(&[frame; 3]), writer.write(&[frame; 2]), writer.write(&[frame])), (3, 1, 0));
            abandon(&ring, taken);
            let record = front(&ring).expect("published");
            assert_eq!((record.header.generation, record.header.frames), (NOBODY, 0));
            ring.release(record.position, record.length_words);
        }
    }

    #[test]
    fn a_sample_survives_the_ring() {
        let ring = Ring::new((0..64).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let header = Header {
            frames: 2,
            slot: 4_095,
            generation: 0xff_fffe,
            state: 0xff,
            truncated: true,
            missed_ticks: u32::MAX,
            time_ns: u64::MAX,
            cpu_ns: 123,
        };
        let frames = [
            RawFrame { code_address: 0x7fff_1234_5678, instruction_offset_bytes: -2 },
            RawFrame { code_address: 8, instruction_offset_bytes: i32::MAX },
        ];
        let taken = ring.reserve(length_words(3)).expect("room for three frames, of which two are found");
        let mut writer = FrameWriter::new(&ring, taken);
        assert_eq!(writer.write(&frames), 2);
        publish(&ring, taken, header);
        let record = front(&ring).expect("published");
        assert_eq!(record.header, header);
        assert_eq!(record.length_words, length_words(3));
        assert_eq!([frame(&ring, &record, 0), frame(&ring, &record, 1)], frames);
    }
}

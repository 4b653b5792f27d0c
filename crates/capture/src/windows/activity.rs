//! Whether a thread that stands still is blocked, by where it stands.

use interpreter::Memory;

/// Where a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Behind the instruction by which it asked the system for something: it waits there, or the system works for it.
    InSystemCall,
    /// Anywhere else.
    InProgram,
}

/// `syscall`; behind it a thread stands that is in the kernel.
const SYSTEM_CALL: [u8; 2] = [0x0f, 0x05];
/// `int 2eh`: the same where the kernel asks for it by a byte at 0x7ffe0308, which the stubs look at.
const INTERRUPT: [u8; 2] = [0xcd, 0x2e];
/// `call qword ptr [0x7ffe1000]`: the same in Wine, whose kernel is a library.
const WINE_SYSTEM_CALL: [u8; 7] = [0xff, 0x14, 0x25, 0x00, 0x10, 0xfe, 0x7f];
/// `ret`, which follows in every stub of `ntdll`.
const RETURN: u8 = 0xc3;

/// Where the thread stands whose program counter is `program_counter`.
pub(crate) fn activity<M: Memory>(memory: &M, program_counter: u64) -> Activity {
    let is_behind = |instruction: &[u8]| {
        let begin = program_counter.wrapping_sub(instruction.len() as u64);
        let bytes = instruction.iter().chain([&RETURN]);
        bytes.enumerate().all(|(at, expected)| memory.read_u8(begin.wrapping_add(at as u64)).ok() == Some(*expected))
    };
    let is_in_call = is_behind(&SYSTEM_CALL) || is_behind(&INTERRUPT) || is_behind(&WINE_SYSTEM_CALL);
    if is_in_call { Activity::InSystemCall } else { Activity::InProgram }
}

/// Whether a thread that is in a system call waits there. One that has used all the time there was is not waiting: the system
/// works for it. Times may come in steps larger than the time between two looks; a step is then charged as often as the thread
/// has used it up, so the share of looks that are told to be on CPU by it is the share of time that was.
pub(crate) fn is_at_rest(used_ns: u64, elapsed_ns: u64) -> bool {
    // Nine tenths: a look itself takes some of the time that goes by.
    used_ns < elapsed_ns / 10 * 9 || elapsed_ns == 0
}

#[cfg(test)]
mod tests {
    use interpreter::Fault;

    use super::*;

    struct Code(Vec<u8>);
    const START: u64 = 0x7000_0000_0000;

    impl Memory for Code {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            let offset = address.checked_sub(START).ok_or(Fault)? as usize;
            let bytes = self.0.get(offset..offset + 8).ok_or(Fault)?;
            Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        }
    }

    /// `NtDelayExecution` of Windows 10, whose form all stubs have, padded to words.
    fn stub() -> Code {
        let code = [
            0x4c, 0x8b, 0xd1, 0xb8, 0x34, 0, 0, 0, 0xf6, 0x04, 0x25, 0x08, 0x03, 0xfe, 0x7f, 0x01, 0x75, 0x03, 0x0f,
            0x05, 0xc3, 0xcd, 0x2e, 0xc3,
        ];
        Code(code.to_vec())
    }

    /// Behind `syscall` and behind `int 2eh`: which of them is used, the stub asks the kernel.
    const BEHIND: [u64; 2] = [20, 23];

    #[test]
    fn behind_the_instruction_is_in_the_kernel() {
        for at in BEHIND {
            assert_eq!(activity(&stub(), START + at), Activity::InSystemCall, "at {at}");
        }
    }

    #[test]
    fn nowhere_else_is() {
        for at in (0..24).filter(|at| !BEHIND.contains(at)) {
            assert_eq!(activity(&stub(), START + at), Activity::InProgram, "at {at}");
        }
        assert_eq!(activity(&stub(), 0), Activity::InProgram);
        assert_eq!(activity(&stub(), 0x9999_0000), Activity::InProgram);
    }

    #[test]
    fn a_stub_of_wine() {
        let mut code = vec![0x4c, 0x8b, 0xd1, 0xb8, 0x34, 0, 0, 0];
        code.extend(WINE_SYSTEM_CALL);
        code.extend([RETURN; 9]);
        assert_eq!(activity(&Code(code), START + 15), Activity::InSystemCall);
    }

    #[test]
    fn who_has_used_all_the_time_does_not_wait() {
        assert!(is_at_rest(0, 10_000_000));
        assert!(is_at_rest(5_000_000, 10_000_000));
        assert!(!is_at_rest(10_000_000, 10_000_000));
        assert!(!is_at_rest(15_600_000, 10_000_000), "a step of the clock");
        assert!(is_at_rest(0, 0));
    }
}

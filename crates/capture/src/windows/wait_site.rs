//! Where in the code a thread waits, as its registers and its stack show it, and what it waits for there.

use std::ops::Range;

use interpreter::Memory;

/// More than lie between a wait of the system and the function of CPython that asks for it: four under Wine.
pub(crate) const MAX_CALLERS: usize = 12;

/// A return address on the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// How far above the stack pointer of the thread that waits.
    pub(crate) offset_bytes: u64,
    pub(crate) address: u64,
}

/// An instruction that a thread waits at, and the calls by which it came there, innermost first.
///
/// Outside of its first and last instructions a function has a frame whose size does not change (Microsoft's "x64 stack usage"), but for
/// one that allocates on the stack as it runs. So all that have come by the same calls have the same return addresses at the same
/// distances; and where the innermost one is found, it is certain where the next one lies, and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitSite {
    program_counter: u64,
    callers: [Caller; MAX_CALLERS],
    caller_count: usize,
}

impl WaitSite {
    /// Of the calls, no more than [`MAX_CALLERS`].
    pub(crate) fn new(program_counter: u64, calls: impl Iterator<Item = Caller>) -> Self {
        let mut site = Self { program_counter, ..Self::default() };
        for (place, call) in site.callers.iter_mut().zip(calls) {
            *place = call;
            site.caller_count += 1;
        }
        site
    }

    /// Whether a thread with these registers is there. Reads no stack but that of one that stands at the instruction.
    pub(crate) fn is_where<M: Memory>(&self, memory: &M, program_counter: u64, stack_pointer: u64) -> bool {
        let stands_on_stack =
            |caller: &Caller| memory.read_u64(stack_pointer.wrapping_add(caller.offset_bytes)) == Ok(caller.address);
        self.program_counter == program_counter && self.callers.iter().take(self.caller_count).all(stands_on_stack)
    }
}

/// Where threads wait for the GIL, and where for others.
#[derive(Clone, Debug)]
pub(crate) struct KnownWaits {
    pub(crate) gil: WaitSite,
    /// Where Python's own locks are waited for.
    pub(crate) locks: [WaitSite; 2],
    /// The system calls by which the system's locks and conditions wait.
    pub(crate) lock_calls: [Range<u64>; 2],
    /// `ntdll`, which has the system calls, and those locks and conditions.
    pub(crate) system_library: Range<u64>,
}

impl KnownWaits {
    /// Whether a thread that is in a system call with these registers waits for the GIL. `None` where that is not to be told: it
    /// waits for a lock or a condition of the system's, which may be one of those that the GIL is made of.
    pub(crate) fn is_for_gil<M: Memory>(&self, memory: &M, program_counter: u64, stack_pointer: u64) -> Option<bool> {
        let is_at = |site: &WaitSite| site.is_where(memory, program_counter, stack_pointer);
        if is_at(&self.gil) {
            return Some(true);
        }
        let is_called_by_system =
            || memory.read_u64(stack_pointer).is_ok_and(|caller| self.system_library.contains(&caller));
        let may_be_gil = self.lock_calls.iter().any(|call| call.contains(&program_counter))
            || self.gil.program_counter == program_counter && is_called_by_system();
        if may_be_gil && !self.locks.iter().any(is_at) { None } else { Some(false) }
    }
}

#[cfg(test)]
mod tests {
    use interpreter::Fault;

    use super::*;

    const STUB: u64 = 0x7ff8_0000_1234;
    const STACK: u64 = 0x10_0000;
    const WAIT: u64 = 0x7ff8_1000_0100;
    const TAKE: u64 = 0x7ff8_2000_0200;

    /// A stack from `STACK` on; below it nothing is mapped.
    struct Stack(Vec<u64>);

    impl Memory for Stack {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            let offset = address.checked_sub(STACK).ok_or(Fault)?;
            self.0.get((offset / 8) as usize).copied().ok_or(Fault)
        }
    }

    fn site_with(calls: &[(u64, u64)]) -> WaitSite {
        WaitSite::new(
            STUB,
            calls.iter().map(|(offset_bytes, address)| Caller { offset_bytes: *offset_bytes, address: *address }),
        )
    }

    fn site() -> WaitSite {
        site_with(&[(0, WAIT), (24, TAKE)])
    }

    #[test]
    fn who_came_by_the_same_calls_is_there() {
        assert!(site().is_where(&Stack(vec![WAIT, 1, 2, TAKE, 3]), STUB, STACK));
        assert!(site().is_where(&Stack(vec![9, WAIT, 1, 2, TAKE]), STUB, STACK + 8), "on another stack");
    }

    #[test]
    fn who_came_by_others_is_not() {
        let elsewhere = [
            vec![WAIT, 1, 2, TAKE + 1, 3],
            vec![WAIT + 1, 1, 2, TAKE, 3],
            vec![WAIT, 1, TAKE, 2, 3],
            vec![WAIT, 1, 2],
            vec![],
        ];
        for stack in elsewhere {
            assert!(!site().is_where(&Stack(stack.clone()), STUB, STACK), "{stack:x?}");
        }
        assert!(!site().is_where(&Stack(vec![WAIT, 1, 2, TAKE]), STUB + 1, STACK), "another instruction");
        assert!(!site().is_where(&Stack(vec![WAIT, 1, 2, TAKE]), STUB, u64::MAX - 7), "a stack that is none");
    }

    #[test]
    fn there_is_room_for_so_many_calls() {
        let calls: Vec<(u64, u64)> = (0..MAX_CALLERS as u64 + 1).map(|call| (8 * call, WAIT + call)).collect();
        let stack: Vec<u64> = calls.iter().map(|(_, address)| *address).collect();
        assert!(site_with(&calls).is_where(&Stack(stack[..MAX_CALLERS].to_vec()), STUB, STACK));
        assert!(!site_with(&calls).is_where(&Stack(stack[..MAX_CALLERS - 1].to_vec()), STUB, STACK));
    }

    const LOCK: u64 = TAKE + 0x1000;
    const ADDRESS_STUB: u64 = STUB + 0x400;
    const IN_SYSTEM_LIBRARY: u64 = STUB + 0x8000;

    fn known() -> KnownWaits {
        KnownWaits {
            gil: site(),
            locks: [site_with(&[(0, WAIT), (24, LOCK)]), site_with(&[(0, IN_SYSTEM_LIBRARY), (8, LOCK)])],
            lock_calls: [ADDRESS_STUB..ADDRESS_STUB + 32, 0..0],
            system_library: STUB - 0x1234..STUB + 0x10_0000,
        }
    }

    fn told(program_counter: u64, stack: &[u64]) -> Option<bool> {
        known().is_for_gil(&Stack(stack.to_vec()), program_counter, STACK)
    }

    #[test]
    fn what_is_waited_for_is_told_by_the_calls() {
        assert_eq!(told(STUB, &[WAIT, 1, 2, TAKE]), Some(true));
        assert_eq!(told(STUB, &[WAIT, 1, 2, LOCK]), Some(false));
        assert_eq!(told(STUB, &[WAIT, 1, 2, 3]), Some(false), "by the same call, for something else");
        assert_eq!(told(STUB, &[TAKE, 1, 2, 3]), Some(false), "straight from the program");
        assert_eq!(told(STUB + 0x200, &[WAIT, 1, 2, TAKE]), Some(false), "another system call");
    }

    #[test]
    fn locks_of_the_system_may_be_those_of_the_gil() {
        assert_eq!(told(STUB, &[IN_SYSTEM_LIBRARY, 1, 2, 3]), None);
        assert_eq!(told(STUB, &[IN_SYSTEM_LIBRARY, LOCK, 2, 3]), Some(false), "but for one that is known");
        for at in [ADDRESS_STUB, ADDRESS_STUB + 31] {
            assert_eq!(told(at, &[WAIT, 1, 2, 3]), None);
        }
        assert_eq!(told(ADDRESS_STUB + 32, &[WAIT, 1, 2, 3]), Some(false));
    }
}

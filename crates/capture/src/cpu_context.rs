//! What the registers at the moment of a signal say about the interrupted thread.

use interpreter::Memory;

#[cfg(target_os = "macos")]
use crate::platform::mach_answers;

/// The registers of the interrupted thread, in the kernel's `ucontext_t`.
pub(crate) struct CpuContext<'a>(&'a mut libc::ucontext_t);

/// The registers that decide whether a thread was blocked, by their role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemCallRegisters {
    pub(crate) program_counter: u64,
    /// The register that holds the result after a system call, and its number (x86_64) when the call is to be restarted.
    pub(crate) result: u64,
    /// The register of the system call's number.
    pub(crate) number: u64,
    /// The first argument; on aarch64, where the result takes its place, only while the call is to be restarted.
    pub(crate) argument: u64,
    /// The registers that a function keeps for its caller, where the argument may have to be looked for: x19 to x28. On
    /// x86_64 it stays where it was.
    #[cfg(target_arch = "aarch64")]
    pub(crate) kept: [u64; KEPT_REGISTERS],
}

#[cfg(target_arch = "aarch64")]
const KEPT_REGISTERS: usize = 10;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
impl CpuContext<'_> {
    pub(crate) fn program_counter(&self) -> u64 {
        self.0.uc_mcontext.gregs[libc::REG_RIP as usize] as u64
    }

    pub(crate) fn set_program_counter(&mut self, address: u64) {
        self.0.uc_mcontext.gregs[libc::REG_RIP as usize] = address as i64;
    }

    pub(crate) fn system_call_registers(&self) -> SystemCallRegisters {
        let registers = &self.0.uc_mcontext.gregs;
        SystemCallRegisters {
            program_counter: registers[libc::REG_RIP as usize] as u64,
            result: registers[libc::REG_RAX as usize] as u64,
            number: registers[libc::REG_RAX as usize] as u64,
            argument: registers[libc::REG_RDI as usize] as u64,
        }
    }
}

#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
impl CpuContext<'_> {
    pub(crate) fn program_counter(&self) -> u64 {
        self.0.uc_mcontext.pc
    }

    pub(crate) fn set_program_counter(&mut self, address: u64) {
        self.0.uc_mcontext.pc = address;
    }

    pub(crate) fn system_call_registers(&self) -> SystemCallRegisters {
        SystemCallRegisters {
            program_counter: self.0.uc_mcontext.pc,
            result: self.0.uc_mcontext.regs[0],
            number: self.0.uc_mcontext.regs[8],
            argument: self.0.uc_mcontext.regs[0],
            kept: std::array::from_fn(|index| self.0.uc_mcontext.regs[19 + index]),
        }
    }
}

#[cfg(target_os = "macos")]
impl CpuContext<'_> {
    fn registers(&self) -> &libc::__darwin_mcontext64 {
        // SAFETY: the kernel puts the registers beside the context and lets it point to them; they live as long.
        unsafe { &*self.0.uc_mcontext }
    }

    fn registers_mut(&mut self) -> &mut libc::__darwin_mcontext64 {
        // SAFETY: as above, and whoever has the context has them.
        unsafe { &mut *self.0.uc_mcontext }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "macos"))]
impl CpuContext<'_> {
    pub(crate) fn program_counter(&self) -> u64 {
        self.registers().__ss.__rip
    }

    pub(crate) fn set_program_counter(&mut self, address: u64) {
        self.registers_mut().__ss.__rip = address;
    }

    pub(crate) fn system_call_registers(&self) -> SystemCallRegisters {
        /// The carry flag.
        const HAS_FAILED: u64 = 1;
        let registers = &self.registers().__ss;
        SystemCallRegisters {
            program_counter: registers.__rip,
            result: mach_answers::result(registers.__rax, registers.__rflags & HAS_FAILED != 0),
            number: registers.__rax,
            argument: registers.__rdi,
        }
    }
}

#[cfg(all(target_arch = "aarch64", target_os = "macos"))]
impl CpuContext<'_> {
    pub(crate) fn program_counter(&self) -> u64 {
        self.registers().__ss.__pc
    }

    pub(crate) fn set_program_counter(&mut self, address: u64) {
        self.registers_mut().__ss.__pc = address;
    }

    pub(crate) fn system_call_registers(&self) -> SystemCallRegisters {
        /// The carry flag.
        const HAS_FAILED: u32 = 1 << 29;
        let registers = &self.registers().__ss;
        SystemCallRegisters {
            program_counter: registers.__pc,
            result: mach_answers::result(registers.__x[0], registers.__cpsr & HAS_FAILED != 0),
            number: registers.__x[16],
            argument: registers.__x[0],
            kept: std::array::from_fn(|index| registers.__x[19 + index]),
        }
    }
}

impl CpuContext<'_> {
    /// # Safety
    /// `context` must be the third argument of an SA_SIGINFO handler that has not returned yet.
    pub(crate) unsafe fn from_raw(context: *mut libc::c_void) -> Self {
        // SAFETY: promised by the caller.
        Self(unsafe { &mut *context.cast::<libc::ucontext_t>() })
    }

    /// Whether the interrupted thread blocks SIGSEGV or SIGBUS.
    pub(crate) fn blocks_faults(&self) -> bool {
        // SAFETY: a set begins with a word of 32 bits on every system, a bit for each signal from 1 on, and the kernel has
        // filled that in.
        let mask = unsafe { *(&raw const self.0.uc_sigmask).cast::<u32>() };
        mask & (1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1)) != 0
    }
}

/// How the thread stood at the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    OnCpu,
    /// Inside a blocking system call, and on what where that is a futex.
    Blocked(Option<FutexWord>),
}

/// What is known of the address of the word that a thread waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FutexWord {
    /// It is this.
    At(u64),
    /// The kernel has put the call's result in its place. Whoever waits on it will need it again, or the object that it
    /// lies in, and has kept that in one of these.
    #[cfg(target_arch = "aarch64")]
    Near([u64; KEPT_REGISTERS]),
}

impl FutexWord {
    /// Whether the word, or what it is a part of, lies in an object that `contains` the addresses of.
    pub(crate) fn is_in(&self, contains: impl Fn(u64) -> bool) -> bool {
        match self {
            Self::At(address) => contains(*address),
            #[cfg(target_arch = "aarch64")]
            Self::Near(kept) => kept.iter().any(|address| contains(*address)),
        }
    }
}

/// Length and bytes of the system call instruction.
#[cfg(target_arch = "x86_64")]
const SYSTEM_CALL: &[u8] = &[0x0f, 0x05];
/// `svc #0`, little-endian.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
const SYSTEM_CALL: &[u8] = &[0x01, 0x00, 0x00, 0xd4];
/// `svc #0x80`.
#[cfg(all(target_arch = "aarch64", target_os = "macos"))]
const SYSTEM_CALL: &[u8] = &[0x01, 0x10, 0x00, 0xd4];

/// Whether the system call of that number waits for a lock.
#[cfg(target_os = "linux")]
fn is_lock_wait(number: u64) -> bool {
    number == libc::SYS_futex as u64
}
#[cfg(target_os = "macos")]
use mach_answers::is_lock_wait;

/// A thread is taken as blocked when the signal interrupted a system call: the kernel then either moved the program
/// counter back onto the instruction, to restart the call (Linux `arch/x86/kernel/signal.c`, `handle_signal`; with
/// SA_RESTART), or left it behind the instruction with EINTR as the result. A call that had returned by itself leaves
/// its own result. The one wrong answer left is a thread hit exactly before it enters a call: one instruction.
pub(crate) fn activity<M: Memory>(memory: &M, registers: SystemCallRegisters) -> Activity {
    let length = SYSTEM_CALL.len() as u64;
    let restarted = is_system_call(memory, registers.program_counter);
    let interrupted = registers.result as i64 == -i64::from(libc::EINTR)
        && is_system_call(memory, registers.program_counter.wrapping_sub(length));
    if !restarted && !interrupted {
        return Activity::OnCpu;
    }
    Activity::Blocked(futex_word(registers, interrupted))
}

/// Behind an interrupted call x86_64 has lost the number in the result register. It is a futex in practice when the
/// argument lies in a lock, which is what the caller compares it with, so the argument is given either way.
#[cfg(target_arch = "x86_64")]
fn futex_word(registers: SystemCallRegisters, interrupted: bool) -> Option<FutexWord> {
    let is_futex = interrupted || is_lock_wait(registers.number);
    is_futex.then_some(FutexWord::At(registers.argument))
}

/// Behind an interrupted call aarch64 has lost the argument in the result register. A wait with a time limit, as that for
/// the GIL is, is never restarted (Linux `kernel/futex/waitwake.c`, `futex_wait`), so this is the usual case.
#[cfg(target_arch = "aarch64")]
fn futex_word(registers: SystemCallRegisters, interrupted: bool) -> Option<FutexWord> {
    let word = if interrupted { FutexWord::Near(registers.kept) } else { FutexWord::At(registers.argument) };
    is_lock_wait(registers.number).then_some(word)
}

fn is_system_call<M: Memory>(memory: &M, address: u64) -> bool {
    SYSTEM_CALL.iter().enumerate().all(|(index, expected)| {
        memory.read_u8(address.wrapping_add(index as u64)).is_ok_and(|found| found == *expected)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use interpreter::Fault;

    /// Code bytes at a page's start, with nothing mapped before it.
    struct Code(&'static [u8]);
    const START: u64 = 0x7000_0000_0000;
    const LENGTH: u64 = SYSTEM_CALL.len() as u64;

    /// A system call, then another instruction.
    #[cfg(target_arch = "x86_64")]
    const CALL: &[u8] = &[0x0f, 0x05, 0xc3];
    #[cfg(target_arch = "aarch64")]
    const CALL: &[u8] = &[0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6];

    /// The same, behind another instruction.
    #[cfg(target_arch = "x86_64")]
    const LATER_CALL: (&[u8], u64) = (&[0x90, 0x0f, 0x05, 0xc3], 1);
    #[cfg(target_arch = "aarch64")]
    const LATER_CALL: (&[u8], u64) = (&[0x1f, 0x20, 0x03, 0xd5, 0x01, 0x00, 0x00, 0xd4], 4);

    impl Memory for Code {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            let offset = address.checked_sub(START).ok_or(Fault)? as usize;
            let mut word = [0; 8];
            for (index, byte) in word.iter_mut().enumerate() {
                *byte = *self.0.get(offset + index).unwrap_or(&0x90);
            }
            if offset >= self.0.len().next_multiple_of(8) { Err(Fault) } else { Ok(u64::from_le_bytes(word)) }
        }
    }

    /// A call to be restarted: its number and argument are where they were.
    fn at((code, offset): (&'static [u8], u64), number: i64, argument: u64) -> Activity {
        let result = if cfg!(target_arch = "x86_64") { number as u64 } else { argument };
        let program_counter = START + offset;
        let registers = SystemCallRegisters {
            program_counter,
            result,
            number: number as u64,
            argument,
            #[cfg(target_arch = "aarch64")]
            kept: [0x5000; KEPT_REGISTERS],
        };
        activity(&Code(code), registers)
    }

    /// Behind a call, as the processor's registers are then.
    fn behind(code: &'static [u8], offset: u64, result: i64, argument: u64) -> Activity {
        let result = result as u64;
        let is_x86_64 = cfg!(target_arch = "x86_64");
        let registers = SystemCallRegisters {
            program_counter: START + offset,
            result,
            number: if is_x86_64 { result } else { libc::SYS_futex as u64 },
            argument: if is_x86_64 { argument } else { result },
            #[cfg(target_arch = "aarch64")]
            kept: [argument; KEPT_REGISTERS],
        };
        activity(&Code(code), registers)
    }

    #[test]
    fn on_the_instruction_is_blocked() {
        assert_eq!(at(LATER_CALL, libc::SYS_read, 3), Activity::Blocked(None));
        assert_eq!(at(LATER_CALL, libc::SYS_futex, 0x1234), Activity::Blocked(Some(FutexWord::At(0x1234))));
    }

    #[test]
    fn behind_it_only_with_eintr() {
        let eintr = -i64::from(libc::EINTR);
        assert!(matches!(behind(CALL, LENGTH, eintr, 0), Activity::Blocked(_)));
        assert_eq!(behind(CALL, LENGTH, 0, 0), Activity::OnCpu);
        assert_eq!(behind(CALL, LENGTH, -i64::from(libc::EAGAIN), 0), Activity::OnCpu);
    }

    #[test]
    fn behind_an_interrupted_futex_its_word_is_still_found() {
        let waiting = behind(CALL, LENGTH, -i64::from(libc::EINTR), 0x1234);
        let Activity::Blocked(Some(word)) = waiting else { panic!("{waiting:?}") };
        assert!(word.is_in(|address| address == 0x1234));
        assert!(!word.is_in(|address| address == 0x1238));
    }

    #[test]
    fn at_a_mapping_s_first_byte_nothing_before_it_is_needed() {
        let (code, offset) = LATER_CALL;
        let another = code.get(..offset as usize).expect("an instruction");
        assert_eq!(behind(another, 0, -i64::from(libc::EINTR), 0), Activity::OnCpu);
    }
}

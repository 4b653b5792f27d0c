//! Loads that may fault, and the memory of this process read through them.
//!
//! The one load instruction of [`load_word`] has two labels: where it may fault, and where to go on instead. The handler
//! in [`crate::fault`] knows both, so a bad address costs a signal and gives [`Fault`], never a crash.

use std::arch::global_asm;

use interpreter::{Fault, Memory};

// What a library of Windows exports is listed elsewhere, and its assembler has no word for what is not.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
global_asm!(".hidden spprof_load_word", ".hidden spprof_load_word_instruction", ".hidden spprof_load_word_faulted",);

#[cfg(all(target_arch = "x86_64", not(target_os = "macos")))]
global_asm!(
    ".text",
    ".globl spprof_load_word",
    ".globl spprof_load_word_instruction",
    ".globl spprof_load_word_faulted",
    ".p2align 4",
    "spprof_load_word:",
    "mov edx, 1",
    "spprof_load_word_instruction:",
    "mov rax, qword ptr [rdi]",
    "ret",
    "spprof_load_word_faulted:",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
);

#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
global_asm!(
    ".text",
    ".hidden spprof_load_word",
    ".hidden spprof_load_word_instruction",
    ".hidden spprof_load_word_faulted",
    ".globl spprof_load_word",
    ".globl spprof_load_word_instruction",
    ".globl spprof_load_word_faulted",
    ".p2align 4",
    "spprof_load_word:",
    "mov x1, #1",
    "spprof_load_word_instruction:",
    "ldr x0, [x0]",
    "ret",
    "spprof_load_word_faulted:",
    "mov x0, #0",
    "mov x1, #0",
    "ret",
);

#[cfg(all(target_arch = "x86_64", target_os = "macos"))]
global_asm!(
    ".text",
    ".private_extern _spprof_load_word",
    ".private_extern _spprof_load_word_instruction",
    ".private_extern _spprof_load_word_faulted",
    ".globl _spprof_load_word",
    ".globl _spprof_load_word_instruction",
    ".globl _spprof_load_word_faulted",
    ".p2align 4",
    "_spprof_load_word:",
    "mov edx, 1",
    "_spprof_load_word_instruction:",
    "mov rax, qword ptr [rdi]",
    "ret",
    "_spprof_load_word_faulted:",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
);

#[cfg(all(target_arch = "aarch64", target_os = "macos"))]
global_asm!(
    ".text",
    ".private_extern _spprof_load_word",
    ".private_extern _spprof_load_word_instruction",
    ".private_extern _spprof_load_word_faulted",
    ".globl _spprof_load_word",
    ".globl _spprof_load_word_instruction",
    ".globl _spprof_load_word_faulted",
    ".p2align 4",
    "_spprof_load_word:",
    "mov x1, #1",
    "_spprof_load_word_instruction:",
    "ldr x0, [x0]",
    "ret",
    "_spprof_load_word_faulted:",
    "mov x0, #0",
    "mov x1, #0",
    "ret",
);

/// What [`spprof_load_word`] returns in the two return registers of the C calling convention of Unix.
#[repr(C)]
struct Loaded {
    value: u64,
    ok: u64,
}

#[cfg(target_arch = "x86_64")]
unsafe extern "sysv64" {
    fn spprof_load_word(address: u64) -> Loaded;
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" {
    fn spprof_load_word(address: u64) -> Loaded;
}

unsafe extern "C" {
    fn spprof_load_word_instruction();
    fn spprof_load_word_faulted();
}

/// Address of the only instruction that may fault on our behalf.
pub(crate) fn faulting_instruction() -> usize {
    spprof_load_word_instruction as *const () as usize
}

/// Where execution goes on when it did.
pub(crate) fn recovery_instruction() -> usize {
    spprof_load_word_faulted as *const () as usize
}

/// User addresses begin behind the first page and end with 47 bits on x86_64 and 48 on aarch64, where nobody asked the kernel
/// for more (Linux `Documentation/arch/x86/x86_64/mm.rst`, `arm64/memory.rst`); what is outside cannot be loaded, and on x86_64
/// a non-canonical address faults without an address to tell.
const LOWEST_ADDRESS: u64 = 0x1000;
const HIGHEST_ADDRESS: u64 = if cfg!(target_arch = "aarch64") { 1 << 48 } else { 1 << 47 };

/// Loads the aligned word at `address`; handler-safe.
fn load_word(address: u64) -> Result<u64, Fault> {
    if !address.is_multiple_of(8) || !(LOWEST_ADDRESS..HIGHEST_ADDRESS).contains(&address) {
        return Err(Fault);
    }
    // SAFETY: the load faults on an unmapped address and the fault handler turns that into `ok == 0`; it is installed
    // by `Session::start` for as long as ticks or the collector run. An aligned word of mapped memory is always loadable.
    let loaded = unsafe { spprof_load_word(address) };
    if loaded.ok != 1 {
        return Err(Fault);
    }
    #[cfg(feature = "inject-faults")]
    let loaded = Loaded { value: crate::injection::tamper(loaded.value), ..loaded };
    Ok(loaded.value)
}

/// The memory of this process.
#[derive(Clone, Copy, Debug)]
pub struct LiveMemory;

impl Memory for LiveMemory {
    #[inline]
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        load_word(address)
    }
}

//! Loads that may fault, and the memory of this process read through them.
//!
//! They are in a few instructions of assembly between two labels. The handler in [`crate::fault`] knows both, and a third one
//! behind them to go on at instead, so a bad address costs a signal and gives [`Fault`], never a crash.

use std::arch::global_asm;
use std::mem::MaybeUninit;

use interpreter::memory::MAX_OFFSET_BYTES;
use interpreter::{Fault, Memory, WordOffsets};

/// The functions that load, in the calling convention of Unix: the word, or the first of four, comes in the first register for
/// results and whether there was no fault in the second. None of them has a frame of its own, so one way out serves all.
///
/// The first word does not go through memory, because the address of the next frame is in it: a walk waits for nothing else.
#[cfg(target_arch = "x86_64")]
macro_rules! loads {
    ($prefix:literal) => {
        global_asm!(
            ".text",
            concat!(".globl ", $prefix, "spprof_load_word"),
            concat!(".globl ", $prefix, "spprof_load_four"),
            concat!(".globl ", $prefix, "spprof_loads_end"),
            ".p2align 4",
            // Address.
            concat!($prefix, "spprof_load_word:"),
            "mov edx, 1",
            "mov rax, qword ptr [rdi]",
            "ret",
            ".p2align 4",
            // Base, four offsets of 32 bits, where to put the second word to the fourth.
            concat!($prefix, "spprof_load_four:"),
            "mov eax, dword ptr [rsi]",
            "mov rax, qword ptr [rdi + rax]",
            "mov ecx, dword ptr [rsi + 4]",
            "mov rcx, qword ptr [rdi + rcx]",
            "mov qword ptr [rdx], rcx",
            "mov ecx, dword ptr [rsi + 8]",
            "mov rcx, qword ptr [rdi + rcx]",
            "mov qword ptr [rdx + 8], rcx",
            "mov ecx, dword ptr [rsi + 12]",
            "mov rcx, qword ptr [rdi + rcx]",
            "mov qword ptr [rdx + 16], rcx",
            "mov edx, 1",
            "ret",
            concat!($prefix, "spprof_loads_end:"),
            "xor eax, eax",
            "xor edx, edx",
            "ret",
        );
    };
}

/// As above.
#[cfg(target_arch = "aarch64")]
macro_rules! loads {
    ($prefix:literal) => {
        global_asm!(
            ".text",
            concat!(".globl ", $prefix, "spprof_load_word"),
            concat!(".globl ", $prefix, "spprof_load_four"),
            concat!(".globl ", $prefix, "spprof_loads_end"),
            ".p2align 4",
            concat!($prefix, "spprof_load_word:"),
            "mov x1, #1",
            "ldr x0, [x0]",
            "ret",
            ".p2align 4",
            concat!($prefix, "spprof_load_four:"),
            "ldp w3, w4, [x1]",
            "ldp w5, w6, [x1, #8]",
            "ldr x3, [x0, x3]",
            "ldr x4, [x0, x4]",
            "ldr x5, [x0, x5]",
            "ldr x6, [x0, x6]",
            "stp x4, x5, [x2]",
            "str x6, [x2, #16]",
            "mov x0, x3",
            "mov x1, #1",
            "ret",
            concat!($prefix, "spprof_loads_end:"),
            "mov x0, #0",
            "mov x1, #0",
            "ret",
        );
    };
}

// What a library of Windows exports is listed elsewhere, and its assembler has no word for what is not.
#[cfg(target_os = "linux")]
global_asm!(".hidden spprof_load_word", ".hidden spprof_load_four", ".hidden spprof_loads_end");
#[cfg(target_os = "macos")]
global_asm!(
    ".private_extern _spprof_load_word",
    ".private_extern _spprof_load_four",
    ".private_extern _spprof_loads_end"
);

#[cfg(not(target_os = "macos"))]
loads!("");
#[cfg(target_os = "macos")]
loads!("_");

/// What the functions return.
#[repr(C)]
struct Loaded {
    first: u64,
    ok: u64,
}

/// How many words `spprof_load_four` loads.
const FOUR: usize = 4;

#[cfg(target_arch = "x86_64")]
unsafe extern "sysv64" {
    fn spprof_load_word(address: u64) -> Loaded;
    fn spprof_load_four(base: u64, offsets: *const u32, others: *mut u64) -> Loaded;
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" {
    fn spprof_load_word(address: u64) -> Loaded;
    fn spprof_load_four(base: u64, offsets: *const u32, others: *mut u64) -> Loaded;
}

unsafe extern "C" {
    fn spprof_loads_end();
}

/// Where execution goes on when the instruction at `program_counter` has faulted; `None` unless it is one of ours. Handler-safe.
pub(crate) fn recovery(program_counter: u64) -> Option<u64> {
    let begin = spprof_load_word as *const () as u64;
    let end = spprof_loads_end as *const () as u64;
    (begin..end).contains(&program_counter).then_some(end)
}

/// User addresses begin behind the first page and end with 47 bits on x86_64 and 48 on aarch64, where nobody asked the kernel
/// for more (Linux `Documentation/arch/x86/x86_64/mm.rst`, `arm64/memory.rst`); what is outside cannot be loaded, and on x86_64
/// a non-canonical address faults without an address to tell.
const LOWEST_ADDRESS: u64 = 0x1000;
const HIGHEST_ADDRESS: u64 = if cfg!(target_arch = "aarch64") { 1 << 48 } else { 1 << 47 };

/// Loads the aligned word at `address`; handler-safe.
#[inline]
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
    let loaded = Loaded { first: crate::injection::tamper(loaded.first), ..loaded };
    Ok(loaded.first)
}

/// Loads the aligned words at four `offsets` from `base`, multiples of 8 below [`MAX_OFFSET_BYTES`]; handler-safe.
#[inline]
fn load_four(base: u64, offsets: &[u32; FOUR]) -> Result<[u64; FOUR], Fault> {
    // What is left out at the end has nothing in it on x86_64 (Linux `TASK_SIZE_MAX`) and the environment elsewhere.
    let addresses = LOWEST_ADDRESS..HIGHEST_ADDRESS - MAX_OFFSET_BYTES as u64;
    if !base.is_multiple_of(8) || !addresses.contains(&base) {
        return Err(Fault);
    }
    let mut others = MaybeUninit::<[u64; FOUR - 1]>::uninit();
    // SAFETY: as in `load_word`; there are four offsets and room for three words.
    let loaded = unsafe { spprof_load_four(base, offsets.as_ptr(), others.as_mut_ptr().cast()) };
    if loaded.ok != 1 {
        return Err(Fault);
    }
    // SAFETY: without a fault all three were stored.
    let [second, third, fourth] = unsafe { others.assume_init() };
    let words = [loaded.first, second, third, fourth];
    #[cfg(feature = "inject-faults")]
    let words = words.map(crate::injection::tamper);
    Ok(words)
}

/// The memory of this process.
#[derive(Clone, Copy, Debug)]
pub struct LiveMemory;

impl Memory for LiveMemory {
    #[inline]
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        load_word(address)
    }

    #[inline]
    fn read_words<const N: usize>(&self, address: u64, offsets: &WordOffsets<N>) -> Result<[u64; N], Fault> {
        let mut words = [0; N];
        let (fours, rest) = offsets.as_array().as_chunks::<FOUR>();
        let (words_by_four, words_of_rest) = words.as_chunks_mut::<FOUR>();
        for (to, offsets) in words_by_four.iter_mut().zip(fours) {
            *to = load_four(address, offsets)?;
        }
        for (to, offset) in words_of_rest.iter_mut().zip(rest) {
            *to = load_word(address.wrapping_add(u64::from(*offset)))?;
        }
        Ok(words)
    }
}

//! Loads that may fault, and the memory of this process read through them.
//!
//! They are in a few instructions of assembly between labels. The handler in [`crate::fault`] knows those, and behind each
//! group of loads a place to go on at instead, so a bad address costs a signal and gives [`Fault`], never a crash.

use std::arch::global_asm;
use std::mem::MaybeUninit;

use interpreter::memory::{LINK_WORDS, MAX_OFFSET_BYTES};
use interpreter::{Fault, Memory, WordOffsets};

/// The functions that load, in the calling convention of Unix. None of them has a frame of its own, so one way out serves all
/// that load from one place: the word, or the first of four, comes in the first register for results and whether there was no
/// fault in the second. `spprof_load_chain` has a way out of its own, by which what was loaded before stands.
#[cfg(target_arch = "x86_64")]
macro_rules! loads {
    ($prefix:literal) => {
        global_asm!(
            ".text",
            concat!(".globl ", $prefix, "spprof_load_word"),
            concat!(".globl ", $prefix, "spprof_load_four"),
            concat!(".globl ", $prefix, "spprof_loads_end"),
            concat!(".globl ", $prefix, "spprof_load_chain"),
            concat!(".globl ", $prefix, "spprof_load_equal"),
            concat!(".globl ", $prefix, "spprof_load_chain_end"),
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
            ".p2align 4",
            // Address, four offsets of 32 bits, where to put the words and where the room for them ends, range. Turned by three
            // bits, an address that is misaligned, too low or too high is beyond the range.
            concat!($prefix, "spprof_load_chain:"),
            "mov rax, rdx",
            "mov edx, dword ptr [rsi]",
            "mov r9d, dword ptr [rsi + 4]",
            "mov r10d, dword ptr [rsi + 8]",
            "mov r11d, dword ptr [rsi + 12]",
            ".p2align 4",
            "2:",
            "lea rsi, [rdi - 0x1000]",
            "ror rsi, 3",
            "cmp rsi, r8",
            "jae 3f",
            "mov rsi, qword ptr [rdi + r9]",
            "mov qword ptr [rax + 8], rsi",
            "mov rsi, qword ptr [rdi + r10]",
            "mov qword ptr [rax + 16], rsi",
            "mov rsi, qword ptr [rdi + r11]",
            "mov qword ptr [rax + 24], rsi",
            "mov rdi, qword ptr [rdi + rdx]",
            "mov qword ptr [rax], rdi",
            "add rax, 32",
            "cmp rax, rcx",
            "jb 2b",
            "3:",
            "ret",
            ".p2align 4",
            // Where the addresses begin and end, value, range as above.
            concat!($prefix, "spprof_load_equal:"),
            "mov rax, rdi",
            "4:",
            "mov rdi, qword ptr [rax]",
            "lea r8, [rdi - 0x1000]",
            "ror r8, 3",
            "cmp r8, rcx",
            "jae 5f",
            "cmp qword ptr [rdi], rdx",
            "jne 5f",
            "add rax, 8",
            "cmp rax, rsi",
            "jb 4b",
            "5:",
            "ret",
            concat!($prefix, "spprof_load_chain_end:"),
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
            concat!(".globl ", $prefix, "spprof_load_chain"),
            concat!(".globl ", $prefix, "spprof_load_equal"),
            concat!(".globl ", $prefix, "spprof_load_chain_end"),
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
            ".p2align 4",
            concat!($prefix, "spprof_load_chain:"),
            "ldp w5, w6, [x1]",
            "ldp w7, w8, [x1, #8]",
            "2:",
            "sub x9, x0, #1, lsl #12",
            "ror x9, x9, #3",
            "cmp x9, x4",
            "b.hs 3f",
            "ldr x10, [x0, x5]",
            "ldr x11, [x0, x6]",
            "ldr x12, [x0, x7]",
            "ldr x13, [x0, x8]",
            "stp x10, x11, [x2]",
            "stp x12, x13, [x2, #16]",
            "mov x0, x10",
            "add x2, x2, #32",
            "cmp x2, x3",
            "b.lo 2b",
            "3:",
            "mov x0, x2",
            "ret",
            ".p2align 4",
            concat!($prefix, "spprof_load_equal:"),
            "mov x4, x2",
            "mov x2, x0",
            "4:",
            "ldr x5, [x2]",
            "sub x6, x5, #1, lsl #12",
            "ror x6, x6, #3",
            "cmp x6, x3",
            "b.hs 5f",
            "ldr x5, [x5]",
            "cmp x5, x4",
            "b.ne 5f",
            "add x2, x2, #8",
            "cmp x2, x1",
            "b.lo 4b",
            "5:",
            "mov x0, x2",
            "ret",
            concat!($prefix, "spprof_load_chain_end:"),
            "mov x0, x2",
            "ret",
        );
    };
}

// What a library of Windows exports is listed elsewhere, and its assembler has no word for what is not.
#[cfg(target_os = "linux")]
global_asm!(
    ".hidden spprof_load_word",
    ".hidden spprof_load_four",
    ".hidden spprof_loads_end",
    ".hidden spprof_load_chain",
    ".hidden spprof_load_equal",
    ".hidden spprof_load_chain_end"
);
#[cfg(target_os = "macos")]
global_asm!(
    ".private_extern _spprof_load_word",
    ".private_extern _spprof_load_four",
    ".private_extern _spprof_loads_end",
    ".private_extern _spprof_load_chain",
    ".private_extern _spprof_load_equal",
    ".private_extern _spprof_load_chain_end"
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
    /// Returns where it would have put the next words.
    fn spprof_load_chain(
        address: u64,
        offsets: *const u32,
        into: *mut [u64; LINK_WORDS],
        end: *mut [u64; LINK_WORDS],
        range: u64,
    ) -> u64;
    /// Returns where the first address is of whose word it does not know that it is equal.
    fn spprof_load_equal(addresses: *const u64, end: *const u64, value: u64, range: u64) -> u64;
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" {
    fn spprof_load_word(address: u64) -> Loaded;
    fn spprof_load_four(base: u64, offsets: *const u32, others: *mut u64) -> Loaded;
    /// Returns where it would have put the next words.
    fn spprof_load_chain(
        address: u64,
        offsets: *const u32,
        into: *mut [u64; LINK_WORDS],
        end: *mut [u64; LINK_WORDS],
        range: u64,
    ) -> u64;
    /// Returns where the first address is of whose word it does not know that it is equal.
    fn spprof_load_equal(addresses: *const u64, end: *const u64, value: u64, range: u64) -> u64;
}

unsafe extern "C" {
    fn spprof_loads_end();
    fn spprof_load_chain_end();
}

/// Where execution goes on when the instruction at `program_counter` has faulted; `None` unless it is one of ours. Handler-safe.
pub(crate) fn recovery(program_counter: u64) -> Option<u64> {
    let loads = spprof_load_word as *const () as u64..spprof_loads_end as *const () as u64;
    let chain = spprof_load_chain as *const () as u64..spprof_load_chain_end as *const () as u64;
    [loads, chain].into_iter().find(|range| range.contains(&program_counter)).map(|range| range.end)
}

/// User addresses begin behind the first page and end with 47 bits on x86_64 and 48 on aarch64, where nobody asked the kernel
/// for more (Linux `Documentation/arch/x86/x86_64/mm.rst`, `arm64/memory.rst`); what is outside cannot be loaded, and on x86_64
/// a non-canonical address faults without an address to tell.
const LOWEST_ADDRESS: u64 = 0x1000;
const HIGHEST_ADDRESS: u64 = if cfg!(target_arch = "aarch64") { 1 << 48 } else { 1 << 47 };

/// What is loaded with an offset begins below this. What is left out at the end has nothing in it on x86_64 (Linux
/// `TASK_SIZE_MAX`) and the environment elsewhere.
const HIGHEST_BASE: u64 = HIGHEST_ADDRESS - MAX_OFFSET_BYTES as u64;

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
    if !base.is_multiple_of(8) || !(LOWEST_ADDRESS..HIGHEST_BASE).contains(&base) {
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

/// The range of addresses below `highest` as the functions compare it: from the lowest address on, in words.
const fn range_words(highest: u64) -> u64 {
    const { assert!(LOWEST_ADDRESS == 0x1000, "the functions know it") };
    (highest - LOWEST_ADDRESS) / 8
}

/// Loads the words of links as [`Memory::read_chain`] says; handler-safe.
#[inline]
fn load_chain(address: u64, offsets: &[u32; LINK_WORDS], into: &mut [[u64; LINK_WORDS]]) -> usize {
    if into.is_empty() {
        return 0;
    }
    let room = into.as_mut_ptr_range();
    // SAFETY: as in `load_word`; there are four offsets, and nothing is stored behind the end of the room.
    let next = unsafe { spprof_load_chain(address, offsets.as_ptr(), room.start, room.end, range_words(HIGHEST_BASE)) };
    let read = next.wrapping_sub(room.start as u64) as usize / size_of::<[u64; LINK_WORDS]>();
    #[cfg(feature = "inject-faults")]
    let read = tamper_with_chain(into, read);
    read
}

/// Wrong values among the `read` links in `into`: the last that stands is the first with a wrong address of the next one, from
/// which the chain goes on elsewhere.
#[cfg(feature = "inject-faults")]
fn tamper_with_chain(into: &mut [[u64; LINK_WORDS]], read: usize) -> usize {
    for (number, link) in into.iter_mut().take(read).enumerate() {
        let [next, ..] = *link;
        *link = link.map(crate::injection::tamper);
        if link[0] != next {
            return number + 1;
        }
    }
    read
}

/// Loads and compares words as [`Memory::count_equal`] says; handler-safe.
#[inline]
fn count_equal(addresses: &[u64], value: u64) -> usize {
    if addresses.is_empty() {
        return 0;
    }
    let all = addresses.as_ptr_range();
    // SAFETY: as in `load_word`; the addresses are read from where they are to their end.
    let other = unsafe { spprof_load_equal(all.start, all.end, value, range_words(HIGHEST_ADDRESS)) };
    let equal = other.wrapping_sub(all.start as u64) as usize / size_of::<u64>();
    #[cfg(feature = "inject-faults")]
    let equal = (0..equal).take_while(|_| crate::injection::tamper(value) == value).count();
    equal
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

    #[inline]
    fn read_chain(&self, address: u64, offsets: &WordOffsets<LINK_WORDS>, into: &mut [[u64; LINK_WORDS]]) -> usize {
        load_chain(address, offsets.as_array(), into)
    }

    #[inline]
    fn count_equal(&self, addresses: &[u64], value: u64) -> usize {
        count_equal(addresses, value)
    }
}

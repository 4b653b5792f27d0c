//! Tests of [`crate::fault`] and [`crate::safe_load`] in this very process: loads that fault, whoever does them.

use std::sync::{Mutex, MutexGuard};

use interpreter::memory::LINK_WORDS;
use interpreter::{Fault, Memory, WordOffsets};

use crate::platform::AllSignalsBlocked;
use crate::safe_load::LiveMemory;
use crate::{disposition, fault};

/// Dispositions belong to the process, and tests run side by side.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// For tests of what may look where there is nothing.
#[cfg(target_os = "linux")]
pub(crate) fn with_faults_caught<T>(look: impl FnOnce() -> T) -> T {
    let _turn = turn();
    fault::install().expect("a handler");
    let seen = look();
    fault::uninstall();
    seen
}

/// Pages that end before a page that is not mapped.
fn end_of_mapping() -> (memmap2::MmapMut, u64) {
    // SAFETY: a plain question.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let mapping = memmap2::MmapMut::map_anon(2 * page_bytes).expect("two pages");
    let second = mapping.as_ptr() as u64 + page_bytes as u64;
    // SAFETY: the page is the mapping's own, and nothing but loads that may fault touches it.
    assert_eq!(unsafe { libc::mprotect(second as *mut libc::c_void, page_bytes, libc::PROT_NONE) }, 0);
    (mapping, second)
}

#[test]
fn a_bad_address_is_an_error_in_every_thread() {
    let _turn = turn();
    fault::install().expect("a handler");
    let (mut mapping, bad) = end_of_mapping();
    let end = mapping.len() / 2;
    for (word, value) in mapping[end - 24..end].chunks_exact_mut(8).zip([0x1111u64, 0x2222, 0x3333]) {
        word.copy_from_slice(&value.to_ne_bytes());
    }
    let check = move || {
        assert_eq!(LiveMemory.read_u64(bad), Err(Fault));
        assert_eq!(LiveMemory.read_u64(bad - 32), Ok(0));
        for wild in [0, 8, 0x1000, bad + 1, u64::MAX - 7, 1 << 47, 0x8000_0000_0000_0000] {
            assert_eq!(LiveMemory.read_u64(wild), Err(Fault), "{wild:#x}");
        }
        let words = |base, offsets| LiveMemory.read_words(base, &WordOffsets::new(offsets).expect("multiples of 8"));
        assert_eq!(words(bad - 24, [16, 0, 8]), Ok([0x3333, 0x1111, 0x2222]));
        for outside in [[24, 0, 8], [0, 24, 8], [0, 8, 24], [4088, 0, 0]] {
            assert_eq!(words(bad - 24, outside), Err(Fault), "{outside:?}");
        }
        assert_eq!(words(bad - 20, [0, 0, 0]), Err(Fault));
        assert_eq!(words((1 << 47) - 8, [0, 0, 4088]), Err(Fault));
    };
    check();
    // The collector's thread is made like this.
    let collector = {
        let _no_signals_for_it = AllSignalsBlocked::new();
        std::thread::spawn(check)
    };
    collector.join().expect("its loads may fault");
    // A thread of the program may block everything, and ask for a snapshot.
    let caller = std::thread::spawn(move || {
        // SAFETY: a whole set, filled in by the call before it is read.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
        let _allowed = fault::Allowed::new();
        check();
    });
    caller.join().expect("its loads may fault");
    fault::uninstall();
    drop(mapping);
}

/// Live memory whose chains are read link by link and word by word.
struct WordByWord;

impl Memory for WordByWord {
    fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        LiveMemory.read_u64(address)
    }
}

#[test]
fn a_chain_is_read_up_to_the_link_that_faults() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    fault::install().expect("a handler");
    let (mut mapping, bad) = end_of_mapping();
    let start = mapping.as_ptr() as u64;
    let offsets = WordOffsets::new([8, 0, 16, 24]).expect("multiples of 8");
    let places = [0, 3, 1, 4, 2];
    let link_at = |number: usize| start + 32 * places[number];
    // Nothing, one of each word behind the mapping, misaligned, too low, too high, and round in a circle.
    let ends = [0, bad - 24, bad - 16, bad - 8, bad, link_at(1) + 4, link_at(1) + 1, 8, 0xff8];
    let ends = ends.into_iter().chain([1 << 47, 1 << 63, u64::MAX - 7, link_at(0)]);
    for (end, length) in ends.flat_map(|end| (1..=places.len()).map(move |length| (end, length))) {
        let mut expected = Vec::new();
        for number in 0..length {
            let next = if number + 1 < length { link_at(number + 1) } else { end };
            let words = [100 + number as u64, next, 200, 300 + number as u64];
            let at = (link_at(number) - start) as usize;
            for (to, word) in mapping[at..at + 32].chunks_exact_mut(8).zip(words) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            expected.push([next, words[0], words[2], words[3]]);
        }
        if end == link_at(0) {
            expected = expected.repeat(8);
        }
        for room in 0..8 {
            let what = format!("{length} links, then {end:#x}, room for {room}");
            let of = |memory: &dyn Fn(&mut [[u64; LINK_WORDS]]) -> usize| {
                let mut links = [[7; LINK_WORDS]; 8];
                let read = memory(&mut links[..room]);
                assert!(links[room..].iter().flatten().all(|word| *word == 7), "{what}");
                links[..read].to_vec()
            };
            let expected = &expected[..room.min(expected.len())];
            assert_eq!(of(&|links| LiveMemory.read_chain(link_at(0), &offsets, links)), expected, "{what}");
            assert_eq!(of(&|links| WordByWord.read_chain(link_at(0), &offsets, links)), expected, "{what}");
        }
        for begin in [end, bad].into_iter().filter(|begin| *begin != link_at(0)) {
            assert_eq!(LiveMemory.read_chain(begin, &offsets, &mut [[0; LINK_WORDS]; 8]), 0, "{begin:#x}");
        }
    }
    fault::uninstall();
    drop(mapping);
}

#[test]
fn what_was_there_is_there_again() {
    let _turn = turn();
    let owners = || [libc::SIGSEGV, libc::SIGBUS].map(|signal| disposition::current(signal).expect("an answer"));
    let before = owners();
    fault::install().expect("a handler");
    assert!(owners().iter().zip(&before).all(|(now, before)| now.sa_sigaction != before.sa_sigaction));
    fault::uninstall();
    for (now, before) in owners().iter().zip(&before) {
        assert_eq!((now.sa_sigaction, now.sa_flags), (before.sa_sigaction, before.sa_flags));
    }
}

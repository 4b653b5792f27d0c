//! Tests of [`crate::takeover`] with a signal that nobody else uses: who gets a signal, in every order of coming and going.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::disposition;
use crate::takeover::{Entry, LEVELS, Takeover};

const SIGNAL: libc::c_int = libc::SIGUSR2;

static TAKEOVER: Takeover = Takeover::new(SIGNAL, &ENTRIES);
static ENTRIES: [Entry; LEVELS] = [ours::<0>, ours::<1>, ours::<2>, ours::<3>];

/// Who was called, a hexadecimal digit each: 1 ours, 2 and up the owner of that number.
static CALLED: AtomicU64 = AtomicU64::new(0);
/// What each owner found when it was put in place, as a library keeps it: by number, 2 to 5.
static KEPT: [AtomicUsize; 6] = [const { AtomicUsize::new(0) }; 6];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn note(who: u64) {
    let _ = CALLED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |called| Some(called << 4 | who));
}

extern "C" fn ours<const LEVEL: usize>(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    note(1);
    if let Some(owner) = TAKEOVER.below(LEVEL) {
        owner.call(signal, info, context);
    }
}

/// An owner that calls whom it found, as a polite library does.
extern "C" fn owner<const NUMBER: usize>(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    note(NUMBER as u64);
    let kept = KEPT[NUMBER].load(Ordering::SeqCst);
    if kept > 1 {
        // SAFETY: every handler in this test takes three arguments.
        let next = unsafe { std::mem::transmute::<usize, Entry>(kept) };
        next(signal, info, context);
    }
}

fn come<const NUMBER: usize>() {
    let mut action = disposition::empty_action();
    action.sa_sigaction = owner::<NUMBER> as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    let before = disposition::replace(SIGNAL, &action).expect("allowed");
    KEPT[NUMBER].store(before.sa_sigaction, Ordering::SeqCst);
}

/// Puts back what it found, whoever is there now.
fn go(number: usize) {
    let mut action = disposition::empty_action();
    action.sa_sigaction = KEPT[number].load(Ordering::SeqCst);
    action.sa_flags = libc::SA_SIGINFO;
    disposition::set(SIGNAL, &action).expect("allowed");
}

fn install() {
    TAKEOVER.install(|_| 0).expect("allowed");
}

/// Who is called for a signal, in order.
fn raise() -> u64 {
    CALLED.store(0, Ordering::SeqCst);
    // SAFETY: a plain call; the signal has a handler.
    unsafe { libc::raise(SIGNAL) };
    CALLED.load(Ordering::SeqCst)
}

/// Runs a test with the signal free at its beginning, and checks that it is free at its end.
fn alone(test: impl FnOnce()) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    disposition::set(SIGNAL, &disposition::empty_action()).expect("allowed");
    test();
    let after = disposition::current(SIGNAL).expect("an answer");
    assert_eq!(after.sa_sigaction, libc::SIG_DFL);
}

#[test]
fn one_who_was_there_before() {
    alone(|| {
        come::<2>();
        install();
        install();
        assert_eq!(raise(), 0x12);
        TAKEOVER.uninstall(|| {});
        assert_eq!(raise(), 0x2);
        go(2);
    });
}

#[test]
fn one_who_comes_during_and_goes_before_the_end() {
    alone(|| {
        install();
        for _ in 0..3 * LEVELS {
            come::<2>();
            assert_eq!(raise(), 0x21);
            install();
            assert_eq!(raise(), 0x121, "theirs calls ours, and that is the end of it");
            go(2);
            assert_eq!(raise(), 0x1, "what it put back knows nothing of it");
            install();
        }
        TAKEOVER.uninstall(|| {});
    });
}

#[test]
fn one_who_comes_during_and_stays() {
    alone(|| {
        for session in 0..3 * LEVELS {
            install();
            if session == 0 {
                come::<3>();
            }
            install();
            assert_eq!(raise(), 0x131);
            TAKEOVER.uninstall(|| {});
            assert_eq!(raise(), 0x31, "ours is called by theirs, which it knows nothing of");
        }
        install();
        go(3);
        assert_eq!(raise(), 0x1);
        TAKEOVER.uninstall(|| {});
    });
}

#[test]
fn one_who_comes_just_before_the_end() {
    alone(|| {
        install();
        come::<2>();
        TAKEOVER.uninstall(|| {});
        assert_eq!(raise(), 0x21, "it is left alone");
        install();
        assert_eq!(raise(), 0x121);
        TAKEOVER.uninstall(|| {});
        go(2);
        install();
        TAKEOVER.uninstall(|| {});
    });
}

#[test]
fn more_than_there_are_levels() {
    alone(|| {
        install();
        come::<2>();
        install();
        come::<3>();
        install();
        come::<4>();
        install();
        assert_eq!(raise(), 0x141_3121);
        come::<5>();
        assert!(TAKEOVER.install(|_| 0).is_err(), "it would have to be put on top of itself");
        assert_eq!(raise(), 0x5141_3121);
        for number in [5, 4, 3, 2] {
            go(number);
            install();
        }
        assert_eq!(raise(), 0x1);
        TAKEOVER.uninstall(|| {});
    });
}

#[test]
fn a_handler_for_one_signal_is_called_for_one() {
    alone(|| {
        let mut action = disposition::empty_action();
        action.sa_sigaction = owner::<2> as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND;
        KEPT[2].store(0, Ordering::SeqCst);
        disposition::set(SIGNAL, &action).expect("allowed");
        install();
        assert_eq!(raise(), 0x12);
        assert_eq!(raise(), 0x1);
        TAKEOVER.uninstall(|| {});
    });
}

#[test]
fn an_owner_s_mask_holds_while_it_runs() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    extern "C" fn look(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: a null set only asks.
        let blocked = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set);
            [libc::SIGUSR1, SIGNAL].map(|signal| libc::sigismember(&raw const set, signal) == 1)
        };
        SEEN.store(1 + u64::from(blocked[0]) * 2 + u64::from(blocked[1]) * 4, Ordering::SeqCst);
    }
    alone(|| {
        for (flags, expected) in [(libc::SA_SIGINFO, 7), (libc::SA_SIGINFO | libc::SA_NODEFER, 3)] {
            let mut action = disposition::empty_action();
            action.sa_sigaction = look as *const () as usize;
            action.sa_flags = flags;
            // SAFETY: a whole set.
            unsafe { libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR1) };
            disposition::set(SIGNAL, &action).expect("allowed");
            TAKEOVER.install(|_| libc::SA_NODEFER).expect("allowed");
            raise();
            assert_eq!(SEEN.load(Ordering::SeqCst), expected);
            TAKEOVER.uninstall(|| {});
        }
        disposition::set(SIGNAL, &disposition::empty_action()).expect("allowed");
    });
}

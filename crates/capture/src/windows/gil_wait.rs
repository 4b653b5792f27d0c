//! Whether a thread that is in a system call waits for the GIL, by the calls that led there.
//!
//! What a system call was given is gone from the registers while the thread waits, so the lock itself does not show. But CPython
//! waits for the GIL in one place, in `take_gil` (`Python/ceval_gil.c`; `ceval_gil.h` up to 3.11): from 3.13 by `SleepConditionVariableSRW`,
//! up to 3.12 by `WaitForSingleObjectEx` in a function that the compiler makes for that (`Include/internal/pycore_condvar.h`). Where this
//! is in this very build, and how the system goes on from there, is learned once, from a thread of ours that asks for the GIL
//! while the thread that calls has it. Nobody comes there but by `take_gil`, so who is found there waits for the GIL.
//!
//! Who waits for a lock of Python's, `threading.Lock` up to 3.13, can wait by the same function of the system; that place is learned too.

use std::ffi::{CStr, c_int, c_void};
use std::mem::transmute;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::activity::{Activity, activity};
use crate::host::Host;
use crate::libraries;
use crate::own_thread::OwnThread;
use crate::platform::{self, Tid};
use crate::safe_load::LiveMemory;
use crate::session::with_faults_caught;
use crate::stand_still::{Registers, stand_still};
use crate::unwind::{Call, calls};
use crate::wait_site::{KnownWaits, MAX_CALLERS, WaitSite};

/// Once it is learned.
static KNOWN: OnceLock<KnownWaits> = OnceLock::new();

/// Whether a thread with these registers, which stands still, waits for the GIL; `None` where that cannot be told. Allocates nothing and
/// takes no lock; reads code, and the stack of one that is in a system call.
pub(crate) fn is_for_gil(registers: &Registers) -> Option<bool> {
    let (program_counter, stack_pointer) = (registers.0.Rip, registers.0.Rsp);
    if activity(&LiveMemory, program_counter) != Activity::InSystemCall {
        return None;
    }
    KNOWN.get()?.is_for_gil(&LiveMemory, program_counter, stack_pointer)
}

/// Whether [`is_for_gil`] can tell anything.
pub(crate) fn is_known() -> bool {
    KNOWN.get().is_some()
}

/// Looks at the thread that asks, until two in a row find it in the same place. It gets there within some 100 µs.
const MAX_LOOKS: u32 = 100;
/// Less than the 5 ms after which one that waits for the GIL wakes to ask for it again.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// What the thread that asks calls needs a few kB.
const STACK_BYTES: usize = 256 << 10;

/// `PyThread_acquire_lock_timed`, by which Python's own locks are waited for.
type AcquireTimed = unsafe extern "C" fn(*mut c_void, i64, c_int) -> c_int;
/// µs of it: negative is without an end, and ten minutes are more than this takes. The one may wait in another place than the other.
const LOCK_TIMES_US: [i64; 2] = [-1, 600_000_000];
/// How often the thread that asks has something to wait for: for a lock with each of these times, and for the GIL.
const STEP_COUNT: i32 = LOCK_TIMES_US.len() as i32 + 1;

/// What of CPython the thread that asks needs. Exported with these signatures by 3.9–3.15 (`Include/pythread.h`,
/// `Include/pystate.h`; `PyGILState_STATE` and `PyLockStatus` are enums, in C ints).
#[derive(Clone, Copy)]
struct Functions {
    allocate_lock: unsafe extern "C" fn() -> *mut c_void,
    free_lock: unsafe extern "C" fn(*mut c_void),
    acquire_lock: AcquireTimed,
    release_lock: unsafe extern "C" fn(*mut c_void),
    ensure: unsafe extern "C" fn() -> c_int,
    release: unsafe extern "C" fn(c_int),
    /// By which the GIL is asked for.
    restore: u64,
}

impl Functions {
    fn find() -> Option<Self> {
        let find = |name: &CStr| Some(platform::symbol(name)).filter(|address| !address.is_null());
        // SAFETY: as said above.
        unsafe {
            Some(Self {
                allocate_lock: transmute::<*const (), unsafe extern "C" fn() -> *mut c_void>(find(
                    c"PyThread_allocate_lock",
                )?),
                free_lock: transmute::<*const (), unsafe extern "C" fn(*mut c_void)>(find(c"PyThread_free_lock")?),
                acquire_lock: transmute::<*const (), AcquireTimed>(find(c"PyThread_acquire_lock_timed")?),
                release_lock: transmute::<*const (), unsafe extern "C" fn(*mut c_void)>(find(
                    c"PyThread_release_lock",
                )?),
                ensure: transmute::<*const (), unsafe extern "C" fn() -> c_int>(find(c"PyGILState_Ensure")?),
                release: transmute::<*const (), unsafe extern "C" fn(c_int)>(find(c"PyGILState_Release")?),
                restore: find(c"PyEval_RestoreThread")? as u64,
            })
        }
    }
}

/// A lock of Python's.
struct Lock {
    functions: Functions,
    lock: *mut c_void,
}

// SAFETY: any thread may take, release and free it.
unsafe impl Send for Lock {}
// SAFETY: as above.
unsafe impl Sync for Lock {}

impl Lock {
    fn new(functions: Functions) -> Option<Self> {
        // SAFETY: needs neither the GIL nor anything else.
        let lock = unsafe { (functions.allocate_lock)() };
        (!lock.is_null()).then_some(Self { functions, lock })
    }

    fn acquire(&self, time_us: i64) {
        // SAFETY: a lock of ours. Not to be interrupted by signals, which is what the last argument asks for.
        unsafe { (self.functions.acquire_lock)(self.lock, time_us, 0) };
    }

    fn release(&self) {
        // SAFETY: a lock of ours, which somebody has.
        unsafe { (self.functions.release_lock)(self.lock) };
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: nobody has it or waits for it any more.
        unsafe { (self.functions.free_lock)(self.lock) };
    }
}

/// What the thread that asks and the one that looks at it share.
struct Asking {
    lock: Lock,
    tid: AtomicI32,
    /// Which step the thread is about to wait in, from 1 on.
    step: AtomicI32,
    is_done: AtomicBool,
}

/// A thread that waits for the GIL and is to be let have it: [`Learning::finish`].
pub struct Learning(Option<(OwnThread, Arc<Asking>)>);

impl Learning {
    /// Waits for the thread to end. To be called without the GIL, which the thread needs for that.
    pub fn finish(self) {
        let Some((thread, asking)) = self.0 else { return };
        thread.join();
        platform::forget_thread(asking.tid.load(Ordering::Acquire));
    }
}

/// Learns where threads wait for the GIL, unless that is known; takes some milliseconds. The caller has the GIL, and keeps it
/// until this returns. Where nothing is learned, nothing is told of such waits.
pub fn learn(host: &Host) -> Learning {
    if is_known() || host.layout.free_threaded {
        return Learning(None);
    }
    let Some(functions) = Functions::find() else { return Learning(None) };
    let Some(lock) = Lock::new(functions) else { return Learning(None) };
    lock.acquire(0);
    let asking =
        Arc::new(Asking { lock, tid: AtomicI32::new(0), step: AtomicI32::new(0), is_done: AtomicBool::new(false) });
    let asks = Arc::clone(&asking);
    let body = Box::new(move || ask(&asks));
    let Ok(thread) = OwnThread::spawn(c"spprof-gil", STACK_BYTES, body) else {
        asking.lock.release();
        return Learning(None);
    };
    if let Some(known) = with_faults_caught(|| watch(&asking)) {
        let _ = KNOWN.set(known);
    }
    Learning(Some((thread, asking)))
}

/// What the thread that asks does.
fn ask(asking: &Asking) {
    asking.tid.store(platform::own_tid(), Ordering::Release);
    for time_us in LOCK_TIMES_US {
        asking.step.fetch_add(1, Ordering::AcqRel);
        asking.lock.acquire(time_us);
    }
    asking.lock.release();
    asking.step.fetch_add(1, Ordering::AcqRel);
    let functions = asking.lock.functions;
    // SAFETY: any thread may ask for the GIL of an interpreter that is not ending, and this one does not end before the thread
    // that waits for us has returned to it.
    unsafe { (functions.release)((functions.ensure)()) };
    asking.is_done.store(true, Ordering::Release);
}

/// The calls by which a thread came to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    program_counter: u64,
    calls: [Call; MAX_CALLERS],
    count: usize,
}

impl Way {
    fn site(&self) -> WaitSite {
        WaitSite::new(self.program_counter, self.calls.iter().take(self.count).map(|call| call.caller))
    }

    /// Whether one of the calls was made by the function that begins there.
    fn leads_through(&self, function: u64) -> bool {
        self.calls.iter().take(self.count).any(|call| call.function == function)
    }

    /// The same way up to the first call out of `library`, if the function there leads to nothing else than the next one does: none of
    /// `others` goes through it.
    fn up_to_first_in(mut self, library: u64, others: &[Self]) -> Self {
        let first = self.calls.iter().take(self.count).position(|call| call.library == library);
        if let Some(first) = first.filter(|first| first + 1 < self.count) {
            let function = self.calls.get(first).map_or(0, |call| call.function);
            if function != 0 && !others.iter().any(|other| other.leads_through(function)) {
                self.count = first + 1;
            }
        }
        self
    }
}

/// Lets the thread that asks go through its steps, and looks at it in each. The lock is released whatever is found.
fn watch(asking: &Asking) -> Option<KnownWaits> {
    let functions = asking.lock.functions;
    let locks = [1, 2].map(|step| {
        let way = find_way(asking, step, functions.acquire_lock as usize as u64);
        asking.lock.release();
        way
    });
    let gil = find_way(asking, STEP_COUNT, functions.restore);
    let ([Some(forever), Some(timed)], Some(gil)) = (locks, gil) else { return None };
    let library = libraries::library_of(functions.restore)?;
    let system_library = libraries::library_of(gil.program_counter)?;
    Some(KnownWaits {
        // Where `take_gil` has a function that does the waiting, `drop_gil` waits in it as well, until the one that asked has got the GIL.
        gil: gil.up_to_first_in(library.start, &[forever, timed]).site(),
        locks: [forever.site(), timed.site()],
        lock_calls: libraries::lock_calls(),
        system_library,
    })
}

/// The way by which the thread that asks has come from the function at `outermost` to wait in this step; without that function.
fn find_way(asking: &Asking, step: i32, outermost: u64) -> Option<Way> {
    let mut before = None;
    for _ in 0..MAX_LOOKS {
        std::thread::sleep(LOOK_PERIOD);
        if asking.is_done.load(Ordering::Acquire) {
            // The caller has not the GIL of the main interpreter.
            return None;
        }
        let found = if asking.step.load(Ordering::Acquire) == step {
            look(asking.tid.load(Ordering::Acquire), outermost)
        } else {
            None
        };
        if found.is_some() && found == before {
            return found;
        }
        before = found;
    }
    None
}

fn look(tid: Tid, outermost: u64) -> Option<Way> {
    // It loads no library, so the tables of functions are free.
    let (program_counter, (calls, _)) = platform::with_thread(tid, |handle| {
        stand_still(handle, |registers| {
            let program_counter = registers.0.Rip;
            (activity(&LiveMemory, program_counter) == Activity::InSystemCall)
                .then(|| (program_counter, calls(registers)))
        })
    })???;
    let count = calls.iter().position(|call| call.function == outermost)?;
    Some(Way { program_counter, calls, count })
}

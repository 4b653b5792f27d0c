//! The life of a session: start, pause, numbers, stop; one at a time in a process.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use profile::{Counters, Ending, Moment, Profile, RecordingInfo};

use crate::code_filter::CodeFilter;
use crate::collection::Collection;
use crate::collector::Collector;
use crate::host::Host;
use crate::nap::Nap;
use crate::own_thread::OwnThread;
use crate::pages::Pages;
use crate::platform::{self, TaskFiles, Tid};
use crate::reserve;
use crate::ring::Ring;
use crate::roster::looks_seed;
use crate::shared::{HandlerCounts, Shared, get};
use crate::slots::MAX_THREADS;
use crate::symbols::Symbols;
use crate::termination;
use crate::tick::Ticks;
use crate::{code_lifetime, fault, fork, gate, sigprof};

/// The collector's round when no thread is parked and ticks see what it is needed for: so long records may lie in the ring. To
/// wake up and look at nothing but one record costs 60 µs on a slow machine, at 10 ms 0.6 % of a processor.
const DRAIN_PERIOD: Duration = Duration::from_millis(50);
/// The same where ticks cannot see whether a thread was born (up to Python 3.10): so long one that nobody announced may go unseen.
const DISCOVERY_PERIOD: Duration = Duration::from_millis(10);
/// The collector's round while the session is paused: only the end of the process has to be seen.
const PAUSED_PERIOD: Duration = Duration::from_millis(100);
/// The collector looks at parked threads once an interval but no oftener than this: a look costs a wake-up and about a
/// microsecond a thread, and at 0.1 ms that would be a tenth of a processor.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// So often the collector asks whether it is the last thread of the process: a file to read, some 10 µs.
const LAST_THREAD_CHECK_NS: u64 = 100_000_000;

/// Smallest ring, and the one where nobody writes into it.
const MIN_RING_BYTES: usize = 64 << 10;

/// Largest ring. At 1 ms a thread on CPU writes 10 records between two looks, 350 bytes each at depth 20 and 16 KiB at depth
/// 1,000; 2 MiB hold 5,900 of the former and 125 of the latter.
const MAX_RING_BYTES: usize = 2 << 20;

/// What a session is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between two ticks of a thread on CPU, ns; 100 µs to 1 s.
    pub interval_ns: u64,
    /// All memory the session may hold, bytes; at least 8 MiB.
    pub memory_limit_bytes: usize,
    /// Frames kept of a stack, the innermost ones; at most `u16::MAX`.
    pub max_depth_frames: u16,
    /// Functions whose file lies below this folder are the profiler's own and never shown.
    pub hidden_directory: String,
    /// What the profile says of the interpreter and the program; the time of start is filled in.
    pub info: RecordingInfo,
}

/// Takes the profile when SIGTERM ends the process, on the collector's thread and without the GIL.
pub type OnTermination = Box<dyn FnOnce(Profile) + Send>;

/// Why a session could not start or be spoken to.
#[derive(Debug)]
pub enum SessionError {
    /// There is one already.
    AlreadyRunning,
    /// There is none.
    NotRunning,
    /// There is no memory for a copy of what was recorded.
    NoMemory,
    /// The system refused what it needs.
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl std::fmt::Display for SessionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AlreadyRunning => f.write_str("Profiler already running"),
            Self::NotRunning => f.write_str("Profiler not running"),
            Self::NoMemory => f.write_str(
                "There is no memory for a snapshot of the profile; the session goes on, and `stop` needs no copy",
            ),
            Self::System { what, error } => write!(
                f,
                "The profiler could not start because the system refused {what}: {error}; `spprof doctor` says what this system allows"
            ),
        }
    }
}

impl std::error::Error for SessionError {}

/// Numbers of a running session.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// What was got and what was lost.
    pub counters: Counters,
    /// Time since start, ns.
    pub duration_ns: u64,
    /// CPU time of the process since start, the profiler's included, ns.
    pub process_cpu_ns: u64,
    /// Threads sampled now.
    pub threads: usize,
    /// All memory the session holds, bytes.
    pub memory_bytes: usize,
    /// Threads that got no timer and are ticked by the collector, since start.
    pub threads_without_timer: u64,
    /// Threads that could not be sampled because every slot was taken, since start.
    pub threads_refused: u64,
    /// Our signals that came too late for their thread or session, since start.
    pub stale_signals: u64,
    /// SIGPROFs of others that no handler was there for, since the process began; they were ignored.
    pub unclaimed_signals: u64,
}

pub(crate) struct Session {
    shared: Arc<Shared>,
    common: Arc<Common>,
    thread: OwnThread,
    /// CPU time of the process at the start.
    process_cpu_ns: u64,
}

/// What the callers and the collector's thread have in common.
struct Common {
    state: Mutex<State>,
}

struct State {
    /// `None` once the profile was taken out.
    collector: Option<Collector>,
    should_stop: bool,
    is_paused: bool,
    on_termination: Option<OnTermination>,
}

static CONTROL: Mutex<Option<Session>> = Mutex::new(None);
static SESSIONS: AtomicU8 = AtomicU8::new(0);
/// Read without the lock by [`is_active`].
static IS_ACTIVE: AtomicBool = AtomicBool::new(false);

/// The lock over start, stop and all that speaks to the session. A panic under it leaves nothing half done that the next
/// caller could not see, so poisoning is ignored. Never held while waiting for the GIL.
pub(crate) fn control() -> MutexGuard<'static, Option<Session>> {
    CONTROL.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Common {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn refused(what: &'static str) -> impl FnOnce(io::Error) -> SessionError {
    move |error| SessionError::System { what, error }
}

fn no_memory() -> SessionError {
    refused("memory")(io::ErrorKind::OutOfMemory.into())
}

/// Begins to sample every thread of the process.
///
/// # Errors
/// [`SessionError`]; nothing is left behind then.
pub fn start(host: Host, options: Options, on_termination: Option<OnTermination>) -> Result<(), SessionError> {
    let mut control = control();
    if control.is_some() {
        return Err(SessionError::AlreadyRunning);
    }
    fork::register();
    let session = Session::begin(host, options, on_termination)?;
    *control = Some(session);
    IS_ACTIVE.store(true, Ordering::SeqCst);
    Ok(())
}

/// Ends the session and returns what it recorded; `ending` is what the profile says of why.
///
/// # Errors
/// [`SessionError::NotRunning`].
pub fn stop(ending: Ending) -> Result<Profile, SessionError> {
    let mut control = control();
    let session = control.take().ok_or(SessionError::NotRunning)?;
    IS_ACTIVE.store(false, Ordering::SeqCst);
    session.end(ending).ok_or(SessionError::NotRunning)
}

/// Whether there is a session, paused or not.
pub fn is_active() -> bool {
    IS_ACTIVE.load(Ordering::SeqCst)
}

/// Looks at the interpreter's memory as a session does: a load that faults gives an error, whether a session runs or not.
pub fn with_faults_caught<T>(look: impl FnOnce() -> T) -> T {
    struct Borrowed(bool);
    impl Drop for Borrowed {
        fn drop(&mut self) {
            if self.0 {
                fault::uninstall();
            }
        }
    }
    let control = control();
    let _allowed = fault::Allowed::new();
    // In a session somebody may have gone on top of ours. Where the system refuses, a fault is the program's.
    let _borrowed = Borrowed(fault::install().is_ok() && control.is_none());
    look()
}

fn with_collector<T>(ask: impl FnOnce(&mut Collector, &Session) -> T) -> Result<T, SessionError> {
    let control = control();
    let _allowed = fault::Allowed::new();
    let session = control.as_ref().ok_or(SessionError::NotRunning)?;
    let mut state = session.common.lock();
    let collector = state.collector.as_mut().ok_or(SessionError::NotRunning)?;
    Ok(ask(collector, session))
}

/// The profile so far; sampling goes on.
///
/// # Errors
/// [`SessionError::NotRunning`]; [`SessionError::NoMemory`].
pub fn snapshot() -> Result<Profile, SessionError> {
    with_collector(|collector, _| collector.snapshot())?.ok_or(SessionError::NoMemory)
}

/// Stops the ticks; no weight is given to the time until [`resume`]. Nothing happens if they were stopped already.
///
/// # Errors
/// [`SessionError::NotRunning`].
pub fn pause() -> Result<(), SessionError> {
    set_paused(true)
}

/// Lets the ticks go on. Nothing happens if they were not stopped.
///
/// # Errors
/// [`SessionError::NotRunning`].
pub fn resume() -> Result<(), SessionError> {
    set_paused(false)
}

fn set_paused(paused: bool) -> Result<(), SessionError> {
    let control = control();
    let _allowed = fault::Allowed::new();
    let session = control.as_ref().ok_or(SessionError::NotRunning)?;
    let mut state = session.common.lock();
    if state.is_paused == paused {
        return Ok(());
    }
    state.is_paused = paused;
    let has_ended_early = state.collector.as_ref().is_some_and(Collector::has_ended_early);
    session.shared.is_paused.store(paused || has_ended_early, Ordering::SeqCst);
    if let Some(collector) = state.collector.as_mut() {
        if paused {
            collector.pause();
        } else {
            collector.resume();
        }
    }
    drop(state);
    session.shared.nap.wake();
    Ok(())
}

/// Numbers of the running session, or `None`.
pub fn stats() -> Option<Stats> {
    with_collector(|collector, session| {
        let (threads_without_timer, threads_refused) = collector.thread_limits();
        Stats {
            counters: collector.counters(),
            duration_ns: platform::monotonic_ns().saturating_sub(collector.started_ns()),
            process_cpu_ns: platform::process_cpu_ns().saturating_sub(session.process_cpu_ns),
            threads: collector.thread_count(),
            memory_bytes: collector.memory_bytes(),
            threads_without_timer,
            threads_refused,
            stale_signals: get(&session.shared.counts.stale),
            unclaimed_signals: sigprof::unclaimed(),
        }
    })
    .ok()
}

/// The calling thread begins: it is sampled from now on, under `name` if it has one. `false` without a session.
pub fn thread_started(name: Option<&str>) -> bool {
    is_active()
        && with_collector(|collector, _| collector.thread_started(platform::own_tid(), platform::own_python_id(), name))
            .unwrap_or(false)
}

/// The calling thread ends, or does not want to be sampled any more. `false` if it was not sampled.
pub fn thread_ended(name: Option<&str>) -> bool {
    is_active()
        && with_collector(|collector, _| collector.thread_ended(platform::own_tid(), name, platform::own_cpu_ns()))
            .unwrap_or(false)
}

/// The name of thread `native_id` in `threading`.
pub fn name_thread(native_id: u64, name: &str) {
    if let Ok(tid) = Tid::try_from(native_id)
        && is_active()
    {
        // Without a session there is nothing to name.
        let _ = with_collector(|collector, _| collector.name_thread(tid, name));
    }
}

impl Session {
    fn begin(host: Host, options: Options, on_termination: Option<OnTermination>) -> Result<Self, SessionError> {
        let _allowed = fault::Allowed::new();
        let start = Moment { unix_ns: platform::realtime_ns(), monotonic_ns: platform::monotonic_ns() };
        reserve::expect_memory();
        let max_ring_bytes = if platform::HAS_TICKS { MAX_RING_BYTES } else { MIN_RING_BYTES };
        let ring_bytes = (options.memory_limit_bytes / 8).clamp(MIN_RING_BYTES, max_ring_bytes);
        let ring_words = (ring_bytes / 8 + 1).next_power_of_two() / 2;
        let ring = Pages::zeroed(ring_words).map_err(refused("memory for the sample ring"))?;
        let slots = Pages::zeroed(MAX_THREADS).map_err(refused("memory for the thread table"))?;
        let fixed_bytes = ring.size_bytes() + slots.size_bytes() + size_of::<Shared>();
        let symbol_bytes = Symbols::share_bytes(options.memory_limit_bytes);
        let shared = Arc::new(Shared {
            // Not the start of the recording: what was done since then would be time in which no first tick can fall.
            ticks: Ticks { origin_ns: platform::monotonic_ns(), interval_ns: options.interval_ns },
            session: SESSIONS.fetch_add(1, Ordering::SeqCst),
            max_depth_frames: usize::from(options.max_depth_frames),
            ring: Ring::new(ring),
            slots,
            filter: CodeFilter::new(),
            symbols: Mutex::new(Symbols::new(host.layout, options.hidden_directory, symbol_bytes)),
            slots_without_timer: AtomicUsize::new(0),
            is_paused: AtomicBool::new(false),
            counts: HandlerCounts::default(),
            collection: Collection::default(),
            nap: Nap::default(),
            newest_threads: AtomicU64::new(0),
            threads_read_ns: AtomicU64::new(0),
            fixed_bytes,
            host,
        });
        let info = RecordingInfo { start, interval_ns: options.interval_ns, ..options.info };
        let recording_bytes = options.memory_limit_bytes.saturating_sub(fixed_bytes + symbol_bytes);
        let mut collector = Collector::new(Arc::clone(&shared), info, recording_bytes);
        let has_termination = on_termination.is_some();
        if reserve::has_run_out() {
            return Err(no_memory());
        }
        // From here on the process is touched, and each step is undone if a later one fails.
        fault::install().map_err(refused(fault::WHAT))?;
        if let Err(error) = sigprof::install() {
            fault::uninstall();
            return Err(refused("a handler for SIGPROF")(error));
        }
        #[cfg(feature = "inject-faults")]
        crate::injection::begin();
        gate::open(&shared);
        code_lifetime::install(&shared.host);
        // The first look is the caller's: every thread that lives now is in the recording from its start.
        collector.first_pass(platform::own_tid(), platform::own_python_id(), platform::own_cpu_ns());
        if collector.has_ended_early() {
            collector.end_ticks();
            release_process();
            return Err(no_memory());
        }
        let common = Arc::new(Common {
            state: Mutex::new(State {
                collector: Some(collector),
                should_stop: false,
                is_paused: false,
                on_termination,
            }),
        });
        let thread = match spawn(Arc::clone(&shared), Arc::clone(&common)) {
            Ok(thread) => thread,
            Err(error) => {
                let collector = common.lock().collector.take();
                if let Some(mut collector) = collector {
                    collector.end_ticks();
                }
                release_process();
                return Err(refused("a thread")(error));
            }
        };
        if has_termination {
            termination::install();
        }
        Ok(Self { shared, common, thread, process_cpu_ns: platform::process_cpu_ns() })
    }

    /// `None` when the collector's thread has taken the profile already because the process is being terminated.
    fn end(self, ending: Ending) -> Option<Profile> {
        let _allowed = fault::Allowed::new();
        termination::uninstall();
        self.common.lock().should_stop = true;
        self.shared.nap.wake();
        self.thread.join();
        let mut state = self.common.lock();
        if termination::was_requested() {
            // SIGTERM came, and the collector's thread had no time left for it.
            terminate(state);
        }
        let collector = state.collector.take()?;
        Some(finish(collector, ending))
    }

    /// In a fork's child: everything here belongs to the parent. Nothing is dropped, no lock is taken.
    #[cfg(unix)]
    pub(crate) fn abandon(self) {
        IS_ACTIVE.store(false, Ordering::SeqCst);
        gate::abandon();
        code_lifetime::uninstall();
        sigprof::abandon();
        fault::uninstall();
        termination::uninstall();
        std::mem::forget(self);
    }
}

/// Ends all ticks, takes the last records and undoes what was done to the process.
fn finish(mut collector: Collector, ending: Ending) -> Profile {
    collector.end_ticks();
    // Code objects are still followed, so the last records can be named.
    collector.settle_all();
    release_process();
    collector.finish(ending)
}

/// Undoes what a session did to the process, in the order in which nothing can be missed.
fn release_process() {
    #[cfg(feature = "inject-faults")]
    crate::injection::tamper_with_one_of(0);
    sigprof::uninstall();
    code_lifetime::uninstall();
    gate::close();
    fault::uninstall();
}

fn spawn(shared: Arc<Shared>, common: Arc<Common>) -> io::Result<OwnThread> {
    let _no_signals_for_it = platform::AllSignalsBlocked::new();
    // Interning and decoding need a few KiB; the default of 8 MiB would count against RLIMIT_AS.
    OwnThread::spawn(c"spprof", 256 << 10, Box::new(move || run(&shared, &common)))
}

/// The collector's thread.
fn run(shared: &Arc<Shared>, common: &Arc<Common>) {
    // Where it cannot be had, our files are among the program's for some microseconds at a time.
    let mut files = if platform::leave_descriptors() { TaskFiles::kept() } else { TaskFiles::default() };
    platform::prefer_short_slices();
    let mut state = common.lock();
    let mut last_thread_check_ns = shared.ticks.origin_ns;
    let mut next_look: Option<PlannedLook> = None;
    while !state.should_stop {
        if termination::was_requested() {
            files.close_all();
            terminate(state);
        }
        let now_ns = platform::monotonic_ns();
        if now_ns.saturating_sub(last_thread_check_ns) >= LAST_THREAD_CHECK_NS {
            last_thread_check_ns = now_ns;
            // What is left open must not keep the file that follows from being opened.
            files.close_unused();
            if platform::is_last_thread() {
                // The process ends with its last thread, and this one must not keep it.
                return hand_over(&mut state, Ending::Exit);
            }
        }
        let seen = shared.nap.wakings();
        shared.nap.end_with_need();
        let mut wait = DISCOVERY_PERIOD;
        if state.is_paused || state.collector.as_ref().is_some_and(Collector::has_ended_early) {
            wait = PAUSED_PERIOD;
        } else if let Some(collector) = state.collector.as_mut() {
            let is_their_turn = next_look.is_some_and(|look| look.at_ns <= now_ns);
            collector.pass(is_their_turn, &mut files);
            collector.cpu_ns = platform::own_cpu_ns();
            if shared.newest_threads.load(Ordering::Relaxed) != 0 {
                wait = DRAIN_PERIOD;
            }
            // Set before it is looked at whether there are any, so that none parks itself unseen in between.
            shared.nap.end_with_parking(true);
            if collector.has_parked_threads() {
                shared.nap.end_with_parking(false);
                // A look that is planned stays where it is: its time must not depend on what threads do.
                let look = match next_look {
                    Some(planned) if !is_their_turn => planned,
                    last => PlannedLook::after(last, shared, now_ns),
                };
                next_look = Some(look);
                wait = wait.min(Duration::from_nanos(look.at_ns.saturating_sub(platform::monotonic_ns())));
            } else {
                next_look = None;
            }
        }
        drop(state);
        shared.nap.sleep(seen, wait);
        state = common.lock();
    }
}

/// When parked threads are looked at: once in each interval, at a random place in it like all ticks.
#[derive(Clone, Copy)]
struct PlannedLook {
    cell: u64,
    at_ns: u64,
}

impl PlannedLook {
    /// The one after `last`; the first is in the interval that follows.
    fn after(last: Option<Self>, shared: &Shared, now_ns: u64) -> Self {
        let interval_ns = shared.ticks.interval_ns.max(SHORTEST_PERIOD.as_nanos() as u64);
        let ticks = Ticks { interval_ns, ..shared.ticks };
        let seed = looks_seed(shared);
        // A look that is late takes no other one's place.
        let cell = ticks.next_cell(last.map_or_else(|| ticks.cell(now_ns), |last| last.cell), now_ns, seed);
        Self { cell, at_ns: ticks.deadline_ns(cell, seed) }
    }
}

/// SIGTERM came and the program leaves it to its default: what was recorded is handed over, then the process ends by
/// that signal as it would have.
fn terminate(mut state: MutexGuard<'_, State>) -> ! {
    hand_over(&mut state, Ending::Sigterm);
    termination::die()
}

/// Ends the recording without a caller of `stop`, and gives the profile to who waits for it.
fn hand_over(state: &mut State, ending: Ending) {
    if let Some(collector) = state.collector.take() {
        let profile = finish(collector, ending);
        if let Some(hand_over) = state.on_termination.take() {
            hand_over(profile);
        }
    }
}

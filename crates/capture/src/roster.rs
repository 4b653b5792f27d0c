//! The threads of the process as the collector knows them: found by themselves, named, given a slot, let go.

use std::io;
use std::sync::atomic::Ordering;

use interpreter::{for_each_thread, newest_threads};
use profile::{NewThread, Recording, State, ThreadId};
use rustc_hash::FxHashMap;

use crate::platform::{self, Tid, TimerId};
use crate::safe_load::LiveMemory;
use crate::shared::Shared;
use crate::slots::{ARMED, MAX_THREADS, PARKED, Slot, TickValue, Vacated};
use crate::tick::mix;

/// After this time the interpreter's list is read even if nobody was born: a thread of C that has ended while
/// it had a tick to come is only missed there.
const LIST_PERIOD_NS: u64 = 100_000_000;

/// A thread that is sampled, or that has said goodbye and not ended yet.
pub(crate) struct LiveThread {
    pub(crate) tid: Tid,
    pub(crate) id: ThreadId,
    pub(crate) slot: u16,
    value: TickValue,
    /// `threading.get_ident()` of it, 0 until it is known.
    python_id: u64,
    /// The name comes from `threading`, not from the system.
    is_named: bool,
    /// It has given its last numbers; it stays known until the system has taken it down, so that it is not found anew.
    pub(crate) has_ended: bool,
    /// Up to here its time is in the recording.
    pub(crate) counted_to_ns: u64,
    pub(crate) counted_cpu_ns: u64,
    /// CPU time that was used while samples found it blocked: the next on-CPU sample carries it.
    pub(crate) pending_cpu_ns: u64,
    /// Its state in the interpreter, by the interpreter's list; 0 where it has none or more than one.
    pub(crate) thread_state: u64,
    /// It has no sample yet.
    pub(crate) is_fresh: bool,
    /// The last sample found it blocked.
    pub(crate) was_blocked: bool,
    /// It has a sample on CPU, and no pause came after it.
    pub(crate) was_on_cpu: bool,
    /// Set while it is parked, from the first look on.
    pub(crate) watch: Option<Watch>,
    /// The pass of the interpreter's list in which it was last seen.
    seen_in: u64,
}

/// What the collector remembers of a parked thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// Its CPU clock at the last look.
    pub(crate) cpu_ns: u64,
    /// The time of the last look at which it had not moved.
    pub(crate) idle_until_ns: u64,
}

/// All threads.
pub(crate) struct Roster {
    pub(crate) threads: FxHashMap<Tid, LiveThread>,
    by_slot: Vec<Option<Tid>>,
    free_slots: Vec<u16>,
    /// Timers of threads that were let go inside their handlers.
    timers_left: Vec<TimerId>,
    /// Names given by `threading` hooks for threads that were not found yet.
    names: FxHashMap<Tid, String>,
    pass: u64,
    /// The time of the last pass that knew all of the interpreter's list; `None` before there was one.
    last_whole_pass_ns: Option<u64>,
    /// [`newest_threads`] as it was just before the last reading of the list, if that saw all, and when that was.
    newest: Option<(u64, u64)>,
    /// Threads that had no slot because all were taken.
    pub(crate) refused: u64,
    /// Threads that get their ticks from the collector because the system gave no timer.
    pub(crate) without_timer: u64,
    /// The session is ending: a thread that is only found now is in the recording, but gets no timer.
    pub(crate) ticks_have_ended: bool,
}

impl Roster {
    pub(crate) fn new() -> Self {
        Self {
            threads: FxHashMap::default(),
            by_slot: Vec::new(),
            free_slots: Vec::new(),
            timers_left: Vec::new(),
            names: FxHashMap::default(),
            pass: 0,
            last_whole_pass_ns: None,
            newest: None,
            refused: 0,
            without_timer: 0,
            ticks_have_ended: false,
        }
    }

    /// The live thread that owns `slot` in `generation`.
    pub(crate) fn by_slot(&mut self, slot: u16, generation: u32) -> Option<&mut LiveThread> {
        let tid = (*self.by_slot.get(usize::from(slot))?)?;
        self.threads.get_mut(&tid).filter(|thread| thread.value.generation == generation && !thread.has_ended)
    }

    /// Whether a thread may have been born since the interpreter's list was last read. To read it all is a third of what a
    /// hundred idle threads cost.
    pub(crate) fn must_discover(&mut self, shared: &Shared, now_ns: u64) -> bool {
        let host = &shared.host;
        let is_as_it_was = self.newest.is_some_and(|(number, read_ns)| {
            now_ns.saturating_sub(read_ns) < LIST_PERIOD_NS
                && newest_threads(&LiveMemory, &host.layout, host.runtime_address) == Some(number)
        });
        if is_as_it_was {
            self.last_whole_pass_ns = Some(now_ns);
        }
        !is_as_it_was
    }

    /// Looks through the interpreter's own list, without the GIL: takes in who is new, and returns who may have ended.
    pub(crate) fn discover(&mut self, shared: &Shared, recording: &mut Recording, now_ns: u64) -> Vec<Tid> {
        self.pass += 1;
        let host = &shared.host;
        let newest = newest_threads(&LiveMemory, &host.layout, host.runtime_address);
        let mut fresh = Vec::new();
        let is_whole = for_each_thread(&LiveMemory, &host.layout, host.runtime_address, &mut |state| {
            let tid = match state.native_thread_id {
                Some(tid) => Tid::try_from(tid).ok().filter(|tid| *tid > 0),
                None => host.tid_of_pthread(state.thread_id),
            };
            let Some(tid) = tid else { return };
            match self.threads.get_mut(&tid) {
                Some(thread) => {
                    // In two interpreters at once: only the thread itself knows which one it is in.
                    let is_only = thread.seen_in != self.pass;
                    thread.thread_state = if is_only { state.address } else { 0 };
                    thread.seen_in = self.pass;
                    if thread.python_id == 0 {
                        thread.python_id = state.thread_id;
                    }
                }
                None => fresh.push((tid, state)),
            }
        });
        for (tid, state) in fresh {
            // It was not there at the last pass that saw all, so it has used no more CPU in Python than time has gone by since:
            // a new thread counts from its birth, one of C that has come to Python for the first time from that pass. Before
            // there was one, nobody counts from before the session.
            let cpu_ns = platform::thread_cpu_ns(tid).unwrap_or(0);
            let since_ns = now_ns.saturating_sub(self.last_whole_pass_ns.unwrap_or(now_ns));
            let counted_cpu_ns = cpu_ns.saturating_sub(since_ns);
            self.admit(shared, recording, tid, state.thread_id, now_ns, counted_cpu_ns);
            match self.threads.get_mut(&tid) {
                Some(thread) => thread.thread_state = state.address,
                None => platform::forget_thread(tid),
            }
        }
        if is_whole {
            self.last_whole_pass_ns = Some(now_ns);
        }
        self.newest = newest.filter(|_| is_whole).map(|number| (number, now_ns));
        shared.newest_threads.store(self.newest.map_or(0, |(number, _)| number), Ordering::Relaxed);
        shared.threads_read_ns.store(now_ns, Ordering::Relaxed);
        let pass = self.pass;
        let unseen = self.threads.values_mut().filter(|thread| thread.seen_in != pass);
        unseen
            .map(|thread| {
                thread.thread_state = 0;
                thread.tid
            })
            .collect()
    }

    /// Takes a thread in, parked: it is looked at in the same pass, and ticks by itself from when it is seen to run. A thread
    /// that is known already, or gone, is left alone.
    pub(crate) fn admit(
        &mut self,
        shared: &Shared,
        recording: &mut Recording,
        tid: Tid,
        python_id: u64,
        now_ns: u64,
        counted_cpu_ns: u64,
    ) {
        if self.threads.contains_key(&tid) {
            return;
        }
        let Some((slot_index, slot)) = self.take_slot(shared) else {
            self.refused += 1;
            return;
        };
        let cell = shared.ticks.cell(now_ns);
        let seed = mix(u64::from(slot_index) ^ (tid as u64) << 16 ^ shared.ticks.origin_ns);
        let generation = slot.occupy(tid, seed, cell);
        let value = TickValue { session: shared.session, slot: slot_index, generation };
        // Once ticks have ended nobody would delete a timer any more.
        let has_ticks = platform::HAS_TICKS && !self.ticks_have_ended;
        match has_ticks.then(|| platform::create_timer(tid, value.to_bits())) {
            Some(Ok(timer)) => slot.set_timer(timer),
            None if platform::thread_cpu_ns(tid).is_some() => {}
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidInput => {
                self.without_timer += 1;
                shared.slots_without_timer.fetch_max(usize::from(slot_index) + 1, Ordering::Relaxed);
            }
            // The kernel knows no such thread of this process: it has ended since it was seen, or the list was torn.
            None | Some(Err(_)) => {
                // No tick was ever sent for it.
                slot.vacate();
                self.free_slots.push(slot_index);
                return;
            }
        }
        let given = self.names.remove(&tid);
        let is_named = given.is_some();
        let is_main = tid == platform::main_tid();
        let name = given.unwrap_or_else(|| system_name(tid, is_main));
        let id =
            recording.add_thread(NewThread { native_id: tid as u64, python_id, name, is_main, started_ns: now_ns });
        if let Some(place) = self.by_slot.get_mut(usize::from(slot_index)) {
            *place = Some(tid);
        }
        let thread = LiveThread {
            tid,
            id,
            slot: slot_index,
            value,
            python_id,
            is_named,
            has_ended: false,
            counted_to_ns: now_ns,
            counted_cpu_ns,
            pending_cpu_ns: 0,
            thread_state: 0,
            is_fresh: true,
            was_blocked: false,
            was_on_cpu: false,
            watch: None,
            seen_in: self.pass,
        };
        self.threads.insert(tid, thread);
    }

    fn take_slot<'a>(&mut self, shared: &'a Shared) -> Option<(u16, &'a Slot)> {
        let index = match self.free_slots.pop() {
            Some(index) => index,
            None if self.by_slot.len() < MAX_THREADS => {
                self.by_slot.push(None);
                (self.by_slot.len() - 1) as u16
            }
            None => return None,
        };
        shared.slots.as_ref().get(usize::from(index)).map(|slot| (index, slot))
    }

    /// Ends a thread's ticks; its slot may be another's next. The thread stays known until [`Self::forget`].
    pub(crate) fn retire(&mut self, shared: &Shared, tid: Tid) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if thread.has_ended {
            return;
        }
        thread.has_ended = true;
        if let Some(place) = self.by_slot.get_mut(usize::from(thread.slot)) {
            *place = None;
        }
        let Some(slot) = shared.slots.as_ref().get(usize::from(thread.slot)) else { return };
        let Vacated { timer, is_left } = slot.vacate();
        if is_left {
            if let Some(timer) = timer {
                platform::delete_timer(timer);
            }
            self.free_slots.push(thread.slot);
        } else {
            // The thread lives and is held up inside its handler: the slot is nobody's from here on, the timer goes with the session.
            self.timers_left.extend(timer);
        }
    }

    /// Deletes all timers. No handler may be inside, and those that come later must set none.
    pub(crate) fn delete_timers(&mut self, shared: &Shared) {
        self.ticks_have_ended = true;
        for thread in self.threads.values().filter(|thread| !thread.has_ended) {
            let Some(slot) = thread.slot_in(shared) else { continue };
            if let Some(timer) = slot.timer() {
                // The kernel may give the number to the program's next timer.
                slot.clear_timer();
                platform::delete_timer(timer);
            }
        }
        for timer in self.timers_left.drain(..) {
            platform::delete_timer(timer);
        }
    }

    /// The system has taken the thread down.
    pub(crate) fn forget(&mut self, tid: Tid) {
        self.threads.remove(&tid);
        self.names.remove(&tid);
        platform::forget_thread(tid);
    }

    /// The thread's name in `threading`, now or once it is found.
    pub(crate) fn name(&mut self, recording: &mut Recording, tid: Tid, name: &str) {
        match self.threads.get_mut(&tid) {
            Some(thread) => {
                thread.is_named = true;
                recording.rename_thread(thread.id, name);
            }
            None => {
                self.names.insert(tid, name.to_owned());
            }
        }
    }

    /// Takes the system's names once more: a thread without a `threading` name may have named itself since it was found. One that
    /// is gone by now keeps what it had.
    pub(crate) fn refresh_system_names(&self, recording: &mut Recording) {
        let is_unnamed = |thread: &&LiveThread| !thread.is_named && !thread.has_ended;
        for thread in self.threads.values().filter(is_unnamed) {
            if let Some(name) = own_name(thread.tid) {
                recording.rename_thread(thread.id, &name);
            }
        }
    }

    /// Sets the next tick of every thread that is ticking: the one that it waits for may have been lost.
    pub(crate) fn tick_again(&self, shared: &Shared, now_ns: u64) {
        let is_ticking = |thread: &&LiveThread| !thread.is_parked(shared);
        for thread in self.threads.values().filter(|thread| !thread.has_ended).filter(is_ticking) {
            thread.arm(shared, now_ns);
        }
    }

    /// The parked threads that are to be looked at: all of them in their turn, else those that have no sample yet.
    pub(crate) fn due(&mut self, shared: &Shared, is_their_turn: bool) -> impl Iterator<Item = &mut LiveThread> {
        self.threads
            .values_mut()
            .filter(move |thread| !thread.has_ended && (is_their_turn || thread.is_fresh) && thread.is_parked(shared))
    }

    /// Whether the pass under way is the first of the session.
    pub(crate) fn is_first_pass(&self) -> bool {
        self.pass == 1
    }

    /// Whether any thread is not ticking.
    pub(crate) fn has_parked(&self, shared: &Shared) -> bool {
        self.threads.values().any(|thread| !thread.has_ended && thread.is_parked(shared))
    }

    /// Threads that are sampled now.
    pub(crate) fn count(&self) -> usize {
        self.threads.values().filter(|thread| !thread.has_ended).count()
    }
}

impl LiveThread {
    pub(crate) fn slot_in<'a>(&self, shared: &'a Shared) -> Option<&'a Slot> {
        shared.slots.as_ref().get(usize::from(self.slot))
    }

    /// It is not ticking.
    pub(crate) fn is_parked(&self, shared: &Shared) -> bool {
        self.slot_in(shared).is_some_and(Slot::is_parked)
    }

    /// Lets the thread's own timer run, from its next tick on.
    pub(crate) fn arm(&self, shared: &Shared, now_ns: u64) {
        let Some(slot) = self.slot_in(shared) else { return };
        let cell = shared.ticks.cell(now_ns);
        let next = shared.ticks.next_cell(cell.wrapping_sub(1), now_ns, slot.seed());
        self.tick_at(slot, cell, shared.ticks.deadline_ns(next, slot.seed()));
    }

    /// No tick comes any more until the thread is looked at.
    pub(crate) fn disarm(&self, shared: &Shared) {
        let Some(slot) = self.slot_in(shared) else { return };
        if let Some(timer) = slot.timer() {
            // 0 is never.
            platform::arm_timer(timer, 0);
        }
        slot.set_phase(PARKED);
    }

    /// Looks that should have come since the last and did not, of a thread that is on CPU and gets no ticks.
    pub(crate) fn missed_looks(&self, shared: &Shared, now_ns: u64, state: State) -> u64 {
        let Some(slot) = self.slot_in(shared) else { return 0 };
        let cell = shared.ticks.due_cell(now_ns, looks_seed(shared));
        let elapsed = cell.saturating_sub(slot.last_cell());
        slot.set_last_cell(cell);
        if state.is_blocked() { 0 } else { elapsed.saturating_sub(1) }
    }

    /// Asks for a sample of the thread at once: this is its tick of the current cell.
    pub(crate) fn tick_now(&self, shared: &Shared, now_ns: u64) {
        if let Some(slot) = self.slot_in(shared) {
            self.tick_at(slot, shared.ticks.cell(now_ns), now_ns);
        }
    }

    fn tick_at(&self, slot: &Slot, cell: u64, deadline_ns: u64) {
        slot.set_last_cell(cell);
        slot.set_phase(ARMED);
        let sent = match slot.timer() {
            Some(timer) => platform::arm_timer(timer, deadline_ns),
            None => platform::send_tick(self.tid, self.value.to_bits()),
        };
        if !sent {
            slot.set_phase(PARKED);
        }
    }
}

/// Where the collector's looks at parked threads fall within their intervals, see [`crate::tick`].
pub(crate) fn looks_seed(shared: &Shared) -> u64 {
    mix(shared.ticks.origin_ns)
}

/// The name that a thread has in the system if it is one of its own: every thread begins with the name of the one that made it,
/// so the process's own name says nothing, nor does it in the main thread.
fn own_name(tid: Tid) -> Option<String> {
    let inherited = platform::thread_comm(platform::main_tid());
    platform::thread_comm(tid).filter(|name| Some(name) != inherited.as_ref())
}

/// A name for a thread that `threading` does not know.
fn system_name(tid: Tid, is_main: bool) -> String {
    if is_main {
        return "MainThread".to_owned();
    }
    own_name(tid).unwrap_or_else(|| format!("Thread-{tid}"))
}

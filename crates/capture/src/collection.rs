//! Which thread collects garbage, and since which frame.
//!
//! CPython says that a collection is going on, but only from 3.15 on whose it is. Before, `gc.callbacks` tells: a function of
//! ours in that list is called by the collecting thread when it begins and when it ends.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::gate;
use crate::safe_load::LiveMemory;
use crate::shared::Shared;

/// The collection that `gc.callbacks` told of. Written by the thread that collects, and of use to that thread alone, so the
/// two words need no order between processors; only its own handler must not come in between and find the second without the
/// first.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    /// 0 while there is none.
    thread_state: AtomicU64,
    innermost_frame: AtomicU64,
}

/// The calling thread, which holds the GIL, begins to collect garbage. Nothing happens without a session.
pub fn collection_began() {
    if let Some(shared) = gate::enter() {
        let thread_state = shared.host.own_thread_state();
        let innermost = shared.host.layout.innermost_frame(&LiveMemory, thread_state).unwrap_or(0);
        shared.collection.innermost_frame.store(innermost, Ordering::Relaxed);
        shared.collection.thread_state.store(thread_state, Ordering::Release);
    }
}

/// It has ended.
pub fn collection_ended() {
    if let Some(shared) = gate::enter() {
        shared.collection.thread_state.store(0, Ordering::Relaxed);
    }
}

/// Whether the calling thread, which is attached to its interpreter by the state at `thread_state`, collects garbage, and
/// does not run a finalizer or a callback written in Python meanwhile: those have frames of their own. Handler-safe.
pub(crate) fn is_collecting(shared: &Shared, thread_state: u64) -> bool {
    let layout = &shared.host.layout;
    let Some(state) = layout.collection(&LiveMemory, thread_state) else { return false };
    let began_in = match state.innermost_frame {
        Some(frame) => frame,
        None if shared.collection.thread_state.load(Ordering::Relaxed) == thread_state => {
            shared.collection.innermost_frame.load(Ordering::Relaxed)
        }
        None => return false,
    };
    layout.innermost_frame(&LiveMemory, thread_state) == Some(began_in)
}

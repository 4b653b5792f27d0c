//! What a thread was doing when it was sampled, in one byte.

use std::fmt;

/// Whether a thread was running on a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Running {
    /// Nobody looked, or the profile comes from a tool that does not say.
    Unknown,
    /// Executing, or ready to and waiting for a processor.
    OnCpu,
    /// Waiting inside a system call.
    Blocked,
}

/// What a thread had to do with the global interpreter lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gil {
    /// Nobody looked, or there is no such lock (free-threaded builds).
    Unknown,
    /// The thread held it.
    Holds,
    /// The thread was blocked because another one held it.
    Waits,
    /// The thread had let it go, as C code does around a long call, and was not asking for it.
    Detached,
}

/// The state of a thread at a sample: [`Running`], [`Gil`] and flags.
///
/// Bits 0–1 hold `Running`, bits 2–3 `Gil`, bit 4 "in a garbage collection", bit 5 "stack truncated"; 6 and 7 are free.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct State(u8);

const RUNNING_MASK: u8 = 0b11;
const GIL_SHIFT: u32 = 2;
const IN_GC: u8 = 1 << 4;
const TRUNCATED: u8 = 1 << 5;

impl State {
    /// Nothing is known.
    pub const UNKNOWN: State = State::new(Running::Unknown, Gil::Unknown);

    /// A state without flags.
    #[must_use]
    pub const fn new(running: Running, gil: Gil) -> State {
        let running = match running {
            Running::Unknown => 0,
            Running::OnCpu => 1,
            Running::Blocked => 2,
        };
        let gil = match gil {
            Gil::Unknown => 0,
            Gil::Holds => 1,
            Gil::Waits => 2,
            Gil::Detached => 3,
        };
        State(running | gil << GIL_SHIFT)
    }

    /// The same state, in a garbage collection or not.
    #[must_use]
    pub const fn with_in_gc(self, yes: bool) -> State {
        State(if yes { self.0 | IN_GC } else { self.0 & !IN_GC })
    }

    /// The same state, with a stack that was cut (deeper than the depth limit) or not.
    #[must_use]
    pub const fn with_truncated(self, yes: bool) -> State {
        State(if yes { self.0 | TRUNCATED } else { self.0 & !TRUNCATED })
    }

    /// Whether the thread was running.
    #[must_use]
    pub const fn running(self) -> Running {
        match self.0 & RUNNING_MASK {
            1 => Running::OnCpu,
            2 => Running::Blocked,
            _ => Running::Unknown,
        }
    }

    /// What the thread had to do with the global interpreter lock.
    #[must_use]
    pub const fn gil(self) -> Gil {
        match (self.0 >> GIL_SHIFT) & 0b11 {
            1 => Gil::Holds,
            2 => Gil::Waits,
            3 => Gil::Detached,
            _ => Gil::Unknown,
        }
    }

    /// The thread was running on a processor.
    #[must_use]
    pub const fn is_on_cpu(self) -> bool {
        matches!(self.running(), Running::OnCpu)
    }

    /// The thread was waiting in a system call.
    #[must_use]
    pub const fn is_blocked(self) -> bool {
        matches!(self.running(), Running::Blocked)
    }

    /// The thread was in a garbage collection.
    #[must_use]
    pub const fn is_in_gc(self) -> bool {
        self.0 & IN_GC != 0
    }

    /// The stack was deeper than the depth limit: its outermost frames are missing.
    #[must_use]
    pub const fn is_truncated(self) -> bool {
        self.0 & TRUNCATED != 0
    }

    /// The byte that stands for this state.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The state a byte stands for; bits without a meaning are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> State {
        let running = if bits & RUNNING_MASK == RUNNING_MASK { 0 } else { bits & RUNNING_MASK };
        State(running | bits & (0b11 << GIL_SHIFT | IN_GC | TRUNCATED))
    }
}

/// Comma-separated words, `on-cpu,gil` for instance; `unknown` when nothing is known.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = match self.running() {
            Running::Unknown => None,
            Running::OnCpu => Some("on-cpu"),
            Running::Blocked => Some("blocked"),
        };
        let gil = match self.gil() {
            Gil::Unknown => None,
            Gil::Holds => Some("gil"),
            Gil::Waits => Some("waits-for-gil"),
            Gil::Detached => Some("no-gil"),
        };
        let flags = [running, gil, self.is_in_gc().then_some("gc"), self.is_truncated().then_some("truncated")];
        let mut words = flags.into_iter().flatten();
        f.write_str(words.next().unwrap_or("unknown"))?;
        words.try_for_each(|word| write!(f, ",{word}"))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: [Running; 3] = [Running::Unknown, Running::OnCpu, Running::Blocked];
    const GIL: [Gil; 4] = [Gil::Unknown, Gil::Holds, Gil::Waits, Gil::Detached];

    #[test]
    fn every_state_survives_its_byte() {
        let mut seen = std::collections::HashSet::new();
        for running in RUNNING {
            for gil in GIL {
                for flags in 0..4u8 {
                    let state = State::new(running, gil).with_in_gc(flags & 1 != 0).with_truncated(flags & 2 != 0);
                    assert_eq!(State::from_bits(state.bits()), state);
                    assert_eq!((state.running(), state.gil()), (running, gil));
                    assert_eq!((state.is_in_gc(), state.is_truncated()), (flags & 1 != 0, flags & 2 != 0));
                    assert!(seen.insert(state.bits()), "{state} shares its byte with another state");
                }
            }
        }
    }

    #[test]
    fn any_byte_is_a_state_that_is_stable() {
        for bits in 0..=u8::MAX {
            let state = State::from_bits(bits);
            assert_eq!(State::from_bits(state.bits()), state);
        }
    }

    #[test]
    fn words() {
        assert_eq!(State::UNKNOWN.to_string(), "unknown");
        assert_eq!(State::new(Running::OnCpu, Gil::Holds).to_string(), "on-cpu,gil");
        assert_eq!(State::new(Running::Blocked, Gil::Waits).to_string(), "blocked,waits-for-gil");
        assert_eq!(State::new(Running::OnCpu, Gil::Detached).with_in_gc(true).to_string(), "on-cpu,no-gil,gc");
        assert_eq!(State::UNKNOWN.with_truncated(true).to_string(), "truncated");
    }
}

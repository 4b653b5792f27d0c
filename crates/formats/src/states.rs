//! The words for a state, as [`profile::State`] displays them, read back.

use profile::{Gil, Running, State};

/// The state that `words` stand for; words without a meaning are passed over.
pub(crate) fn state_of_words(words: &str) -> State {
    let (mut running, mut gil) = (Running::Unknown, Gil::Unknown);
    let (mut in_gc, mut truncated) = (false, false);
    for word in words.split(',') {
        match word {
            "on-cpu" => running = Running::OnCpu,
            "blocked" => running = Running::Blocked,
            "gil" => gil = Gil::Holds,
            "waits-for-gil" => gil = Gil::Waits,
            "no-gil" => gil = Gil::Detached,
            "gc" => in_gc = true,
            "truncated" => truncated = true,
            _ => {}
        }
    }
    State::new(running, gil).with_in_gc(in_gc).with_truncated(truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_back_from_its_words() {
        for bits in 0..=u8::MAX {
            let state = State::from_bits(bits);
            assert_eq!(state_of_words(&state.to_string()), state, "{state}");
        }
        assert_eq!(state_of_words("of another tool"), State::UNKNOWN);
    }
}

//! Why a recording ended.

/// What ended a recording, which says whether it covers the program to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// A file does not say, or its parts ended in different ways and none of them early.
    #[default]
    Unsaid,
    /// It has not: this is a snapshot, and the recording went on.
    GoesOn,
    /// Somebody stopped it.
    Stop,
    /// The process came to its end.
    Exit,
    /// SIGTERM ended the process.
    Sigterm,
    /// There was no memory left; the program went on without being recorded.
    OutOfMemory,
}

impl Ending {
    const ALL: [Ending; 6] =
        [Ending::Unsaid, Ending::GoesOn, Ending::Stop, Ending::Exit, Ending::Sigterm, Ending::OutOfMemory];

    /// Its name in files and in the API; empty for [`Ending::Unsaid`].
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Ending::Unsaid => "",
            Ending::GoesOn => "snapshot",
            Ending::Stop => "stop",
            Ending::Exit => "exit",
            Ending::Sigterm => "SIGTERM",
            Ending::OutOfMemory => "out of memory",
        }
    }

    /// The one of that name; [`Ending::Unsaid`] for a name that is none, as in a file of a later version.
    #[must_use]
    pub fn from_label(label: &str) -> Ending {
        Ending::ALL.into_iter().find(|ending| ending.label() == label).unwrap_or_default()
    }

    /// Nobody who runs the program decided that the recording should end here.
    #[must_use]
    pub const fn is_early(self) -> bool {
        matches!(self, Ending::Sigterm | Ending::OutOfMemory)
    }

    /// Of several recordings as one: what they have in common, or else how the one ended that ended before its time.
    pub(crate) fn of_all(endings: impl Iterator<Item = Ending> + Clone) -> Ending {
        let Some(first) = endings.clone().next() else { return Ending::Unsaid };
        if endings.clone().all(|ending| ending == first) {
            return first;
        }
        let ended = |early: Ending| endings.clone().any(|ending| ending == early).then_some(early);
        ended(Ending::OutOfMemory).or_else(|| ended(Ending::Sigterm)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_unknown_ones_say_nothing() {
        for ending in Ending::ALL {
            assert_eq!(Ending::from_label(ending.label()), ending);
        }
        assert_eq!(Ending::from_label("power cut"), Ending::Unsaid);
    }

    #[test]
    fn one_that_ended_early_is_not_hidden_by_others() {
        let of = |endings: &[Ending]| Ending::of_all(endings.iter().copied());
        assert_eq!(of(&[]), Ending::Unsaid);
        assert_eq!(of(&[Ending::Exit, Ending::Exit]), Ending::Exit);
        assert_eq!(of(&[Ending::Exit, Ending::Stop]), Ending::Unsaid);
        assert_eq!(of(&[Ending::Exit, Ending::Sigterm, Ending::Unsaid]), Ending::Sigterm);
        assert_eq!(of(&[Ending::Sigterm, Ending::Exit, Ending::OutOfMemory]), Ending::OutOfMemory);
    }
}

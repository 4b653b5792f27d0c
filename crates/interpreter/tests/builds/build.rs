//! What `tools/layouts/generate.py` found in each build.

use std::collections::BTreeMap;

use interpreter::{Identity, Layout};

use crate::image::{Image, RUNTIME};

/// One build of CPython.
pub(crate) struct Build {
    /// As in `3.14t`.
    pub(crate) name: &'static str,
    facts: BTreeMap<&'static str, u64>,
}

/// All of them, the oldest first.
pub(crate) fn all() -> Vec<Build> {
    macro_rules! found {
        ($($name:literal),*) => { vec![$(Build::parse($name, include_str!(concat!("found/", $name, ".txt")))),*] };
    }
    found!("3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t", "3.15", "3.15t")
}

/// The one of that name.
pub(crate) fn named(name: &str) -> Build {
    all().into_iter().find(|build| build.name == name).expect("a build that was found")
}

impl Build {
    fn parse(name: &'static str, text: &'static str) -> Self {
        let fact = |line: &'static str| {
            let (key, value) = line.split_once(' ').expect("a name and a value");
            (key, value.parse().expect("a number"))
        };
        Self { name, facts: text.lines().map(fact).collect() }
    }

    /// A number that every build has.
    pub(crate) fn fact(&self, key: &str) -> u64 {
        self.optional(key).unwrap_or_else(|| panic!("{}: nothing was found for {key}", self.name))
    }

    /// A number that some builds have.
    pub(crate) fn optional(&self, key: &str) -> Option<u64> {
        self.facts.get(key).copied()
    }

    /// 9 for 3.9.
    pub(crate) fn minor(&self) -> u64 {
        self.fact("hexversion") >> 16 & 0xff
    }

    pub(crate) fn is_free_threaded(&self) -> bool {
        self.fact("free_threaded") == 1
    }

    /// Frames of entry from C are in the chain.
    pub(crate) fn has_shims(&self) -> bool {
        self.minor() >= 12
    }

    /// Each thread may have its own copy of the bytecode.
    pub(crate) fn has_thread_copies(&self) -> bool {
        self.optional("code.thread_copies").is_some()
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            hexversion: self.fact("hexversion") as u32,
            free_threaded: self.is_free_threaded(),
            debug: false,
            trace_refs: false,
            is_cpython: true,
        }
    }

    /// The words of `_Py_DebugOffsets`; none up to 3.12.
    pub(crate) fn debug_offsets(&self) -> Vec<u64> {
        self.facts.iter().filter(|(key, _)| key.starts_with("debug_offsets.")).map(|(_, value)| *value).collect()
    }

    /// The layout that the crate detects.
    pub(crate) fn layout(&self) -> Layout {
        Layout::detect(&self.identity(), &Image::new(self), RUNTIME)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

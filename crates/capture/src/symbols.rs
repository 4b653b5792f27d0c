//! Code addresses to names and lines, right even for code objects that have died since.
//!
//! The collector reads a code object's names and line table as memory, once, the first time it meets the address. That is
//! safe because [`crate::code_lifetime`] tells us of every death before the memory goes, and both sides hold the lock
//! around [`Symbols`]: no code object dies while it is read. A death has a *position*: where the ring stood when it
//! happened. Records before it mean the dead code object, records behind it whoever lives at that address then.

use std::sync::{Arc, OnceLock};

use interpreter::{CodeObject, Layout, Memory, ReadError, read_code};
use rustc_hash::FxHashMap;

/// What is kept of one code object.
pub(crate) struct Symbol {
    pub(crate) code: CodeObject,
    /// Never shown: a shim of the interpreter, or a function of the profiler's own package.
    pub(crate) is_hidden: bool,
    /// Set by the collector the first time a sample shows it: the function's id in the recording.
    pub(crate) function: OnceLock<profile::FunctionId>,
}

/// Heap that the symbols of living code objects may take at most (spec N8 allows 32 MB; the rest is for the dead).
const MAX_LIVING_BYTES: usize = 24 << 20;

/// Rough cost of a map entry with its symbol, beside the strings and lines: measured on 64-bit, rounded up.
const SYMBOL_BYTES: usize = 256;

/// A code object that has died.
struct Death {
    /// Where the ring stood.
    position: u64,
    /// What it was; `None` if its memory did not read as a code object.
    symbol: Option<Arc<Symbol>>,
}

/// All that is known about code addresses.
pub(crate) struct Symbols {
    layout: Layout,
    /// Frames of files below this folder are the profiler's own.
    hidden_directory: String,
    living: FxHashMap<u64, Arc<Symbol>>,
    living_bytes: usize,
    max_living_bytes: usize,
    /// By address, in order of death.
    dead: FxHashMap<u64, Vec<Death>>,
    /// Code objects that have died so far.
    deaths: u64,
    /// Code objects whose memory did not read as one: the record was wrong.
    pub(crate) unreadable: u64,
    /// Something was not kept for want of memory: what an address means cannot be said from then on.
    pub(crate) is_incomplete: bool,
}

impl Symbols {
    /// What the symbols may take of a session's memory.
    pub(crate) fn share_bytes(memory_limit_bytes: usize) -> usize {
        (memory_limit_bytes / 4).min(MAX_LIVING_BYTES)
    }

    pub(crate) fn new(layout: Layout, hidden_directory: String, max_living_bytes: usize) -> Self {
        Self {
            layout,
            hidden_directory,
            living: FxHashMap::default(),
            living_bytes: 0,
            max_living_bytes,
            dead: FxHashMap::default(),
            deaths: 0,
            unreadable: 0,
            is_incomplete: false,
        }
    }

    /// The symbol of the code object that was at `address` when the record at `position` was taken. `None` when the
    /// memory there is no code object.
    pub(crate) fn resolve<M: Memory>(&mut self, memory: &M, address: u64, position: u64) -> Option<Arc<Symbol>> {
        if !self.dead.is_empty()
            && let Some(deaths) = self.dead.get(&address)
            && let Some(death) = deaths.iter().find(|death| position < death.position)
        {
            return death.symbol.clone();
        }
        if let Some(symbol) = self.living.get(&address) {
            return Some(Arc::clone(symbol));
        }
        let symbol = self.read(memory, address)?;
        self.keep(address, &symbol);
        Some(symbol)
    }

    fn read<M: Memory>(&mut self, memory: &M, address: u64) -> Option<Arc<Symbol>> {
        match read_code(memory, &self.layout, address) {
            Ok(code) => {
                let is_hidden = code.is_interpreter_shim() || is_below(&code.filename, &self.hidden_directory);
                Some(Arc::new(Symbol { code, is_hidden, function: OnceLock::new() }))
            }
            Err(error) => {
                self.unreadable += 1;
                self.is_incomplete |= error == ReadError::Memory;
                None
            }
        }
    }

    fn keep(&mut self, address: u64, symbol: &Arc<Symbol>) {
        if self.living_bytes > self.max_living_bytes {
            // Everything alive can be read again; to forget all at once needs no bookkeeping per use.
            self.living.clear();
            self.living_bytes = 0;
        }
        // What is not kept is read again.
        if self.living.try_reserve(1).is_ok() {
            self.living_bytes += size_bytes(symbol);
            self.living.insert(address, Arc::clone(symbol));
        }
    }

    /// The code object at `address` is about to be freed while the ring stands at `position`. Called with the object still
    /// whole, under the lock.
    pub(crate) fn retire<M: Memory>(&mut self, memory: &M, address: u64, position: u64) {
        if self.dead.try_reserve(1).is_err() {
            self.is_incomplete = true;
            return;
        }
        let symbol = match self.living.remove(&address) {
            Some(symbol) => {
                self.living_bytes = self.living_bytes.saturating_sub(size_bytes(&symbol));
                Some(symbol)
            }
            None => self.read(memory, address),
        };
        self.dead.entry(address).or_default().push(Death { position, symbol });
        self.deaths += 1;
    }

    /// Code objects that have died so far. While this does not change, and [`Self::may_name_dead`] was not so in between, an
    /// address means the same in every record.
    pub(crate) fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Whether a record may be on its way that names a code object that has died since.
    pub(crate) fn may_name_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The collector has taken all records before `position`: deaths up to there are of no further use.
    pub(crate) fn forget_dead_before(&mut self, position: u64) {
        if self.dead.is_empty() {
            return;
        }
        self.dead.retain(|_, deaths| {
            deaths.retain(|death| death.position > position);
            !deaths.is_empty()
        });
    }

    /// Nothing will be named any more: all memory is given back.
    pub(crate) fn forget_all(&mut self) {
        self.living = FxHashMap::default();
        self.living_bytes = 0;
        self.dead = FxHashMap::default();
    }

    /// Heap held, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let dead =
            self.dead.values().flatten().filter_map(|death| death.symbol.as_deref()).map(size_bytes).sum::<usize>();
        self.living_bytes + dead
    }
}

fn size_bytes(symbol: &Symbol) -> usize {
    SYMBOL_BYTES + symbol.code.name.len() + symbol.code.filename.len() + symbol.code.lines.memory_bytes()
}

fn is_below(file: &str, directory: &str) -> bool {
    !directory.is_empty() && file.strip_prefix(directory).is_some_and(|rest| rest.starts_with(std::path::is_separator))
}

#[cfg(test)]
pub(crate) mod fake {
    //! Code objects of 3.12 for tests.

    use std::collections::HashMap;

    use interpreter::{Fault, Identity, Layout, Memory};

    use super::Symbols;

    /// Words by address.
    #[derive(Default)]
    pub(crate) struct Words(HashMap<u64, u64>);

    impl Memory for Words {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            self.0.get(&address).copied().ok_or(Fault)
        }
    }

    /// Where a code object may be; the next may be [`SIZE`] further on.
    pub(crate) const CODE: u64 = 0x10_0000;
    /// Bytes that a code object takes here with all that belongs to it.
    pub(crate) const SIZE: u64 = 0x1000;
    /// Instructions that it has, 2 bytes each.
    pub(crate) const INSTRUCTIONS: u64 = 4;
    /// The first line of it.
    pub(crate) const FIRST_LINE: u64 = 7;

    impl Words {
        fn put_text(&mut self, at: u64, text: &str) {
            self.0.insert(at + 16, text.len() as u64);
            // Kind 1, compact, ASCII (`Include/cpython/unicodeobject.h` of 3.12).
            self.0.insert(at + 32, 1 << 2 | 1 << 5 | 1 << 6);
            self.put_bytes(at + 40, text.as_bytes());
        }

        fn put_bytes(&mut self, at: u64, bytes: &[u8]) {
            for (number, bytes) in bytes.chunks(8).enumerate() {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                self.0.insert(at + 8 * number as u64, u64::from_le_bytes(word));
            }
        }

        /// A code object at `at`, as the layout's table has it, each instruction on a line of its own.
        pub(crate) fn put_code(&mut self, at: u64, name: &str, file: &str) {
            let [name_at, file_at, lines_at] = [0x400, 0x800, 0xc00].map(|offset| at + offset);
            self.put_text(name_at, name);
            self.put_text(file_at, file);
            // `PY_CODE_LOCATION_INFO_ONE_LINE0` to `2` add 0 to 2 to the line (`Include/cpython/code.h` of 3.12); two bytes of
            // columns follow.
            let lines = [0x80 | 10 << 3, 0, 0, 0x80 | 11 << 3, 0, 0, 0x80 | 11 << 3, 0, 0, 0x80 | 11 << 3, 0, 0];
            self.0.insert(lines_at + 16, lines.len() as u64);
            self.put_bytes(lines_at + 32, &lines);
            self.0.extend([
                (at + 16, INSTRUCTIONS),
                (at + 64, FIRST_LINE << 32),
                (at + 112, file_at),
                (at + 128, name_at),
                (at + 136, lines_at),
                (at + 176, 0),
            ]);
        }

        /// Whether there is a code object at `at`.
        pub(crate) fn has_code(&self, at: u64) -> bool {
            self.0.contains_key(&(at + 16))
        }

        /// Nothing is at `at` any more.
        pub(crate) fn remove_code(&mut self, at: u64) {
            self.0.retain(|word, _| !(at..at + SIZE).contains(word));
        }
    }

    /// Symbols that have nothing in them yet, and whose living code objects may take `max_living_bytes`.
    pub(crate) fn symbols(max_living_bytes: usize) -> Symbols {
        let identity = Identity {
            hexversion: 0x030c_01f0,
            free_threaded: false,
            debug: false,
            trace_refs: false,
            is_cpython: true,
        };
        let layout = Layout::detect(&identity, &Words::default(), 0).expect("3.12 has a table");
        Symbols::new(layout, "/own".to_owned(), max_living_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::fake::{CODE, Words, symbols};
    use super::*;

    fn name(symbols: &mut Symbols, memory: &Words, position: u64) -> Option<String> {
        symbols.resolve(memory, CODE, position).map(|symbol| symbol.code.name.clone())
    }

    #[test]
    fn an_address_means_who_lived_there_at_the_time() {
        let mut symbols = symbols(1 << 20);
        let mut memory = Words::default();
        memory.put_code(CODE, "first", "a.py");
        symbols.retire(&memory, CODE, 100);
        memory.put_code(CODE, "second", "b.py");
        symbols.retire(&memory, CODE, 200);
        memory.put_code(CODE, "third", "c.py");
        for (position, expected) in [(0, "first"), (99, "first"), (100, "second"), (199, "second"), (200, "third")] {
            assert_eq!(name(&mut symbols, &memory, position).as_deref(), Some(expected), "at {position}");
        }
    }

    #[test]
    fn what_was_read_once_is_not_read_again_until_it_dies() {
        let mut symbols = symbols(1 << 20);
        let mut memory = Words::default();
        memory.put_code(CODE, "first", "a.py");
        assert_eq!(name(&mut symbols, &memory, 1).as_deref(), Some("first"));
        let nothing = Words::default();
        assert_eq!(name(&mut symbols, &nothing, 2).as_deref(), Some("first"));
        symbols.retire(&nothing, CODE, 3);
        assert_eq!(name(&mut symbols, &nothing, 2).as_deref(), Some("first"), "its names outlive it");
        assert_eq!(name(&mut symbols, &nothing, 3), None);
    }

    #[test]
    fn the_dead_are_forgotten_once_their_records_are_taken() {
        let mut symbols = symbols(1 << 20);
        let mut memory = Words::default();
        memory.put_code(CODE, "first", "a.py");
        symbols.retire(&memory, CODE, 100);
        symbols.forget_dead_before(99);
        assert_eq!(symbols.dead.len(), 1);
        symbols.forget_dead_before(100);
        assert!(symbols.dead.is_empty());
        assert_eq!(symbols.memory_bytes(), 0);
    }

    #[test]
    fn our_own_functions_are_hidden_and_namesakes_are_not() {
        for (file, is_hidden) in [("/own/a.py", true), ("/owner/a.py", false), ("/own", false), ("own/a.py", false)] {
            let mut memory = Words::default();
            memory.put_code(CODE, "f", file);
            let symbol = symbols(1 << 20).resolve(&memory, CODE, 0).expect("a code object");
            assert_eq!(symbol.is_hidden, is_hidden, "{file}");
        }
    }
}

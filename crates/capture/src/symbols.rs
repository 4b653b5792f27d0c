//! Code addresses to names and lines, right even for code objects that have died since.
//!
//! The collector reads a code object's names and line table as memory, once, the first time it meets the address. That is
//! safe because [`crate::code_lifetime`] tells us of every death before the memory goes, and both sides hold the lock
//! around [`Symbols`]: no code object dies while it is read. A death has a *position*: where the ring stood when it
//! happened. Records before it mean the dead code object, records behind it whoever lives at that address then.

use std::sync::{Arc, OnceLock};

use interpreter::{CodeObject, Layout, Memory, read_code};
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
    /// Code objects whose memory did not read as one: the record was wrong.
    pub(crate) unreadable: u64,
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
            unreadable: 0,
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
            Err(_) => {
                self.unreadable += 1;
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
        self.living_bytes += size_bytes(symbol);
        self.living.insert(address, Arc::clone(symbol));
    }

    /// The code object at `address` is about to be freed while the ring stands at `position`. Called with the object still
    /// whole, under the lock.
    pub(crate) fn retire<M: Memory>(&mut self, memory: &M, address: u64, position: u64) {
        let symbol = match self.living.remove(&address) {
            Some(symbol) => {
                self.living_bytes = self.living_bytes.saturating_sub(size_bytes(&symbol));
                Some(symbol)
            }
            None => self.read(memory, address),
        };
        self.dead.entry(address).or_default().push(Death { position, symbol });
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
mod tests {
    use std::collections::HashMap;

    use interpreter::{Fault, Identity};

    use super::*;

    /// Words by address.
    #[derive(Default)]
    struct Words(HashMap<u64, u64>);

    impl Memory for Words {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            self.0.get(&address).copied().ok_or(Fault)
        }
    }

    const CODE: u64 = 0x10_000;

    impl Words {
        fn put_text(&mut self, at: u64, text: &str) {
            self.0.insert(at + 16, text.len() as u64);
            // Kind 1, compact, ASCII (`Include/cpython/unicodeobject.h` of 3.12).
            self.0.insert(at + 32, 1 << 2 | 1 << 5 | 1 << 6);
            for (number, bytes) in text.as_bytes().chunks(8).enumerate() {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                self.0.insert(at + 40 + 8 * number as u64, u64::from_le_bytes(word));
            }
        }

        /// A code object of 3.12 at [`CODE`], as the layout's table has it.
        fn put_code(&mut self, name: &str, file: &str) {
            self.put_text(0x20_000, name);
            self.put_text(0x30_000, file);
            self.0.extend([(0x40_000 + 16, 0)]);
            self.0.extend([
                (CODE + 16, 4),
                (CODE + 64, 7 << 32),
                (CODE + 112, 0x30_000),
                (CODE + 128, 0x20_000),
                (CODE + 136, 0x40_000),
                (CODE + 176, 0),
            ]);
        }
    }

    fn symbols() -> Symbols {
        let identity = Identity {
            hexversion: 0x030c_01f0,
            free_threaded: false,
            debug: false,
            trace_refs: false,
            is_cpython: true,
        };
        let layout = Layout::detect(&identity, &Words::default(), 0).expect("3.12 has a table");
        Symbols::new(layout, "/own".to_owned(), 1 << 20)
    }

    fn name(symbols: &mut Symbols, memory: &Words, position: u64) -> Option<String> {
        symbols.resolve(memory, CODE, position).map(|symbol| symbol.code.name.clone())
    }

    #[test]
    fn an_address_means_who_lived_there_at_the_time() {
        let mut symbols = symbols();
        let mut memory = Words::default();
        memory.put_code("first", "a.py");
        symbols.retire(&memory, CODE, 100);
        memory.put_code("second", "b.py");
        symbols.retire(&memory, CODE, 200);
        memory.put_code("third", "c.py");
        for (position, expected) in [(0, "first"), (99, "first"), (100, "second"), (199, "second"), (200, "third")] {
            assert_eq!(name(&mut symbols, &memory, position).as_deref(), Some(expected), "at {position}");
        }
    }

    #[test]
    fn what_was_read_once_is_not_read_again_until_it_dies() {
        let mut symbols = symbols();
        let mut memory = Words::default();
        memory.put_code("first", "a.py");
        assert_eq!(name(&mut symbols, &memory, 1).as_deref(), Some("first"));
        let nothing = Words::default();
        assert_eq!(name(&mut symbols, &nothing, 2).as_deref(), Some("first"));
        symbols.retire(&nothing, CODE, 3);
        assert_eq!(name(&mut symbols, &nothing, 2).as_deref(), Some("first"), "its names outlive it");
        assert_eq!(name(&mut symbols, &nothing, 3), None);
    }

    #[test]
    fn the_dead_are_forgotten_once_their_records_are_taken() {
        let mut symbols = symbols();
        let mut memory = Words::default();
        memory.put_code("first", "a.py");
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
            memory.put_code("f", file);
            let symbol = symbols().resolve(&memory, CODE, 0).expect("a code object");
            assert_eq!(symbol.is_hidden, is_hidden, "{file}");
        }
    }
}

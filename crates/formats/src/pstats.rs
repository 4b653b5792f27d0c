//! The statistics of cProfile, as `pstats.Stats` and snakeviz load them: a dictionary in Python's marshal format.
//!
//! A function is (file, line of its definition, name) and has (primitive calls, calls, own time, total time, callers), times in
//! seconds of one clock. What cProfile counts as calls are samples here: a sampling profiler counts no calls. There are no
//! stacks, lines, threads, states or times; nor a place for the honest numbers.

use std::collections::BTreeMap;
use std::io;

use profile::Profile;

use crate::calls::{Calls, EdgeSums, Sums};
use crate::{WriteOptions, clocks};

/// cProfile's file name for what has none.
const NO_FILE: &str = "~";

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let clock = clocks(profile, options.clock)[0];
    let calls = Calls::new(profile, true);
    let mut own = vec![Sums::default(); calls.callables.len()];
    calls.own.iter().for_each(|(&(number, _), &sums)| own[number].add(sums));
    let mut callers: Vec<BTreeMap<usize, EdgeSums>> = vec![BTreeMap::new(); calls.callables.len()];
    for (edge, sums) in &calls.edges {
        let caller = callers[edge.callee].entry(edge.caller).or_default();
        caller.own.add(sums.own);
        caller.outermost.add(sums.outermost);
        caller.any.add(sums.any);
    }

    let mut marshal = Marshal(out);
    marshal.open_dict()?;
    let mut is_empty = true;
    for (number, (own, callers)) in own.iter().zip(&callers).enumerate() {
        let total = &calls.total[number];
        if *total == Sums::default() {
            continue;
        }
        is_empty = false;
        write_key(&mut marshal, profile, &calls, number)?;
        marshal.tuple(5)?;
        write_times(&mut marshal, total.samples, own.on(clock), total.on(clock))?;
        marshal.open_dict()?;
        for (&caller, sums) in callers {
            write_key(&mut marshal, profile, &calls, caller)?;
            marshal.tuple(4)?;
            write_times(&mut marshal, sums.any.samples, sums.own.on(clock), sums.outermost.on(clock))?;
        }
        marshal.close_dict()?;
    }
    if is_empty {
        // `pstats.Stats` refuses an empty dictionary.
        marshal.tuple(3)?;
        marshal.text(NO_FILE)?;
        marshal.integer(0)?;
        marshal.text("<nothing was sampled>")?;
        marshal.tuple(5)?;
        write_times(&mut marshal, 0, 0, 0)?;
        marshal.open_dict()?;
        marshal.close_dict()?;
    }
    marshal.close_dict()
}

fn write_key(
    marshal: &mut Marshal<'_, impl io::Write>,
    profile: &Profile,
    calls: &Calls,
    number: usize,
) -> io::Result<()> {
    let callable = &calls.callables[number];
    marshal.tuple(3)?;
    marshal.text(match profile.strings.get(callable.file) {
        "" => NO_FILE,
        file => file,
    })?;
    marshal.integer(callable.first_line.into())?;
    marshal.text(profile.strings.get(callable.name))
}

fn write_times(marshal: &mut Marshal<'_, impl io::Write>, samples: u64, own_ns: u64, total_ns: u64) -> io::Result<()> {
    marshal.integer(samples)?;
    marshal.integer(samples)?;
    marshal.float(own_ns as f64 / 1e9)?;
    marshal.float(total_ns as f64 / 1e9)
}

/// The few types that are needed, in forms that every Python 3 reads.
struct Marshal<'a, W>(&'a mut W);

impl<W: io::Write> Marshal<'_, W> {
    fn open_dict(&mut self) -> io::Result<()> {
        self.0.write_all(b"{")
    }

    fn close_dict(&mut self) -> io::Result<()> {
        self.0.write_all(b"0")
    }

    fn tuple(&mut self, length: u32) -> io::Result<()> {
        self.0.write_all(b"(")?;
        self.0.write_all(&length.to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let length = i32::try_from(text.len());
        let length = length.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a name is longer than 2 GB"))?;
        self.0.write_all(b"u")?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(text.as_bytes())
    }

    fn integer(&mut self, value: u64) -> io::Result<()> {
        if let Ok(small) = i32::try_from(value) {
            self.0.write_all(b"i")?;
            return self.0.write_all(&small.to_le_bytes());
        }
        // Digits of 15 bits, the lowest first.
        let digits: Vec<u16> =
            (0..5).map(|digit| (value >> (15 * digit) & 0x7fff) as u16).take(value.ilog2() as usize / 15 + 1).collect();
        self.0.write_all(b"l")?;
        self.0.write_all(&(digits.len() as i32).to_le_bytes())?;
        digits.iter().try_for_each(|digit| self.0.write_all(&digit.to_le_bytes()))
    }

    fn float(&mut self, value: f64) -> io::Result<()> {
        self.0.write_all(b"g")?;
        self.0.write_all(&value.to_le_bytes())
    }
}

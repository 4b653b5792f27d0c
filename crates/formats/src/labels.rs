//! What a thread is called in a file.

use std::collections::HashMap;

/// Name of what all threads add up to.
pub(crate) const ALL_THREADS: &str = "All threads";

/// A label for each thread, given their names and native ids: the name, with the native id where several have the same.
pub(crate) fn thread_labels<'a>(threads: impl Iterator<Item = (&'a str, u64)> + Clone) -> Vec<String> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for (name, _) in threads.clone() {
        *uses.entry(name).or_default() += 1;
    }
    let label = |(name, native_id)| match native_id {
        0 => str::to_owned(name),
        _ if uses[name] == 1 => str::to_owned(name),
        _ => format!("{name} ({native_id})"),
    };
    threads.map(label).collect()
}

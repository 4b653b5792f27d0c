//! Tests of [`crate::code_filter`]; apart from it because `tests/models` compiles the same file with loom's atomics.

use crate::code_filter::CodeFilter;

#[test]
fn what_was_marked_is_found_and_little_else() {
    let filter = CodeFilter::new();
    let marked: Vec<u64> = (0..2_000).map(|n| 0x7f00_0000_0000 + n * 208).collect();
    marked.iter().for_each(|address| filter.mark(*address));
    assert!(marked.iter().all(|address| filter.may_contain(*address)));
    // 2,000 of 65,536 bits are set at most: 3 % of strangers look marked, five standard deviations allow 160 of 3,000.
    let strangers = (0..3_000).filter(|n| filter.may_contain(0x5500_0000_0000 + n * 208)).count();
    assert!(strangers < 160, "{strangers}");
}

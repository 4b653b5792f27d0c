//! How much memory small files can take: files that unpack to very much more than they are.

use std::io::Write;
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use formats::{Format, read};
use peak_alloc::PeakAlloc;

/// Counts every heap byte of this process.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// One at a time: they share the heap.
static TURN: Mutex<()> = Mutex::new(());

const LIMIT_BYTES: usize = 256 << 20;

/// Reads a file and asserts that it took no more than 256 MB, and whether it was refused.
fn check(what: &str, file: &[u8], format: Format, is_refused: bool) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let result = read(file, Some(format));
    let peak = HEAP.peak_usage() - before;
    assert!(peak < LIMIT_BYTES, "{what}: {} MB for a file of {} bytes", peak >> 20, file.len());
    assert_eq!(result.is_err(), is_refused, "{what}: {:?}", result.err());
}

/// Reads a valid file with `count` things of a kind and asserts that each took no more than it is counted for.
fn check_each(what: &str, file: &[u8], format: Format, count: u64, bytes_each: usize) {
    /// One chunk, plain, and its columns.
    const CHUNK_BYTES: usize = 4 << 20;
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    read(file, Some(format)).expect("it is valid");
    let peak = HEAP.peak_usage() - before;
    assert!(peak < count as usize * bytes_each + CHUNK_BYTES, "{what}: {} bytes each", peak as u64 / count);
}

/// A chunk of an .spprof file with a checksum that is right.
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("a vector takes everything");
    let packed = encoder.finish().expect("a vector takes everything");
    let mut chunk = kind.to_vec();
    chunk.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    chunk.extend_from_slice(&(content.len() as u32).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&chunk);
    hasher.update(&packed);
    chunk.extend_from_slice(&hasher.finalize().to_le_bytes());
    chunk.extend_from_slice(&packed);
    chunk
}

fn spprof(chunks: &[Vec<u8>]) -> Vec<u8> {
    let begin = [b"\x89spprof\n".as_slice(), &[1, 0, 0, 0], &chunk(b"HEAD", b"{}")].concat();
    [begin, chunks.concat()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn spprof_bombs() {
    let _turn = TURN.lock().expect("no test panicked while it held it");
    let thread = chunk(b"THRD", &[0; 7]);
    let function = chunk(b"FUNC", &[0; 4]);
    // As many as come to more than 200 MB when read.
    let many = |content: &[u8], count: usize| content.repeat(count);

    let header = format!("{{\"threads\":[{}{{}}]}}", "{},".repeat(349_000));
    let file = [b"\x89spprof\n".as_slice(), &[1, 0, 0, 0], &chunk(b"HEAD", header.as_bytes())].concat();
    check("threads in the header", &file, Format::Spprof, false);
    check("threads", &spprof(&[chunk(b"THRD", &many(&[0; 7], 250_000))]), Format::Spprof, true);
    check("empty texts", &spprof(&[chunk(b"TEXT", &many(&[0], 2_000_000))]), Format::Spprof, true);
    let distinct: Vec<u8> =
        (0..1_500_000u32).flat_map(|number| [&[4u8][..], &(number & 0x7f7f_7f7f).to_le_bytes()].concat()).collect();
    check("texts", &spprof(&[chunk(b"TEXT", &distinct)]), Format::Spprof, true);
    check("arguments", &spprof(&[chunk(b"ARGV", &many(&[0], 2_000_000))]), Format::Spprof, true);
    let long = [varint(50 << 20), vec![b'x'; 50 << 20]].concat();
    check("a long text", &spprof(&[chunk(b"TEXT", &long)]), Format::Spprof, false);
    check(
        "long texts",
        &spprof(&[chunk(b"TEXT", &long), chunk(b"TEXT", &long), chunk(b"TEXT", &long)]),
        Format::Spprof,
        true,
    );
    // Of what takes long to read in such numbers: no more for each than it is counted for (`cost.rs`).
    let count = (1 << 18) + 1;
    let functions: Vec<u8> = (0..count).flat_map(|line| [vec![0, 0], varint(line), vec![0]].concat()).collect();
    check_each("functions", &spprof(&[chunk(b"FUNC", &functions)]), Format::Spprof, count, 80);
    // Each called from the one before it: all are different.
    let nodes = chunk(b"NODE", &many(&[1, 1, 0], count as usize));
    check_each("nodes", &spprof(&[function, nodes]), Format::Spprof, count, 40);
    let entries = 1u64 << 16;
    let wide = [varint(0), varint(entries), vec![1], vec![0; 2 << 16]].concat();
    let narrow = [wide.clone(), vec![1; 3 << 16], vec![0]].concat();
    let samples = chunk(b"SAMP", &narrow);
    check_each("samples", &spprof(&[vec![thread.clone()], vec![samples; 4]].concat()), Format::Spprof, 4 * entries, 28);
    let weights = varint(u64::from(u32::MAX)).repeat(3 << 16);
    let gaps = [varint(entries), vec![0, 5], [1, 5].repeat((1 << 16) - 1)].concat();
    let samples = chunk(b"SAMP", &[wide, weights, gaps].concat());
    check_each(
        "wide samples",
        &spprof(&[vec![thread], vec![samples; 4]].concat()),
        Format::Spprof,
        4 * entries,
        28 + 4 * 40,
    );
    // What is announced is not believed.
    let mut announced = spprof(&[chunk(b"TEXT", b"\x01a")]);
    let at = announced.len() - 16 - 4;
    announced[at..].fill(0xff);
    check("lengths", &announced, Format::Spprof, false);
}

/// A field of bytes of pprof's top level.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A packed pprof profile of wall time: a location, then `one` again and again up to so many bytes, then the strings.
fn pprof(one: &[u8], bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut put = |bytes: &[u8]| encoder.write_all(bytes).expect("a vector takes everything");
    // The type `wall` in `ns`; location 1 without a function.
    put(&field(1, &[8, 1, 16, 2]));
    put(&field(4, &[8, 1]));
    let block = one.repeat((1 << 16) / one.len().min(1 << 16) + 1);
    (0..bytes / block.len() + 1).for_each(|_| put(&block));
    ["", "wall", "ns"].iter().for_each(|text| put(&field(6, text.as_bytes())));
    encoder.finish().expect("a vector takes everything")
}

#[test]
fn pprof_bombs() {
    let _turn = TURN.lock().expect("no test panicked while it held it");
    let size = 4 << 20;
    check("texts", &pprof(&field(6, b""), size), Format::Pprof, true);
    check("functions", &pprof(&field(5, &[8, 1]), 3 * size), Format::Pprof, true);
    check("mappings", &pprof(&field(3, &[8, 1]), 3 * size), Format::Pprof, true);
    check("locations", &pprof(&field(4, &[8, 1]), size), Format::Pprof, true);
    check("sample types", &pprof(&field(1, &[8, 1, 16, 2]), size), Format::Pprof, true);
    check("comments", &pprof(&[13 << 3, 1], size), Format::Pprof, true);
    check("many comments", &pprof(&field(13, &[0; 1000]), size), Format::Pprof, true);
    let count = 1 << 18;
    check_each("samples", &pprof(&field(2, &[16, 1]), 4 * count), Format::Pprof, count as u64, 68);
    // Stacks of a million frames, each deeper than the last.
    let deep = field(2, &[[8, 1].repeat(500_000), vec![16, 1]].concat());
    check("frames", &pprof(&deep, 2 * size), Format::Pprof, false);
    check("labels", &pprof(&field(2, &[vec![16, 1], [26, 0].repeat(400_000)].concat()), size), Format::Pprof, false);
    check("what is not known", &pprof(&field(99, &[0; 1000]), size), Format::Pprof, false);
    check("one long field", &pprof(&field(99, &vec![0; 10 << 20]), 260 << 20), Format::Pprof, true);
}

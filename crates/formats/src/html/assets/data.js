// @ts-check
// Unpacks the data; `payload.rs` says how it is laid out.

/** What a thread was doing: positions in `ACTIVITIES`. */
const RUNNING = 0;
const WAITING = 1;
const WAITING_FOR_GIL = 2;
const ACTIVITIES = ["running", "waiting", "waiting for the GIL"];

/**
 * @typedef {{label: string, bit: number}} ClockInfo
 * @typedef {{node: Float64Array, activity: Float64Array, samples: Float64Array, weights: Float64Array[], carriers: Float64Array[]}} Totals
 * @typedef {{begin_ns: Float64Array, end_ns: Float64Array, node: Float64Array, activity: Uint8Array, carries: Uint8Array,
 *   samples: Float64Array, weights: Float64Array[]}} Timeline
 * @typedef {{label: string, is_main: boolean, is_folded: boolean, timeline: Timeline}} ThreadData
 * @typedef {{name: string[], file: string[], line: Float64Array, origin: Float64Array, sourceFirst: Float64Array,
 *   sourceLast: Float64Array, count: number}} Functions
 * @typedef {{parent: Uint32Array, function: Uint32Array, line: Uint32Array, count: number}} Nodes
 * @typedef {{status: string, lines: Map<number, string>}} Source
 * @typedef {{title: string, numbers: any, clocks: ClockInfo[], origins: string[], functions: Functions, nodes: Nodes,
 *   totals: Totals[], threads: ThreadData[], window_runs: number, sources: Map<string, Source>, end_ns: number}} Data
 */

class Columns {
  /** @param {Uint8Array} bytes @param {number} at */
  constructor(bytes, at) {
    this.bytes = bytes;
    this.at = at;
  }

  number() {
    const bytes = this.bytes;
    let byte = bytes[this.at++];
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 0x80;
    do {
      byte = bytes[this.at++];
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    } while (byte >= 0x80);
    return value;
  }

  difference() {
    return signed(this.number());
  }

  /** @param {number} length */
  column(length) {
    const column = new Float64Array(length);
    const bytes = this.bytes;
    let at = this.at;
    for (let row = 0; row < length; row++) {
      // Most numbers are short: two bytes without a call.
      const low = bytes[at++];
      if (low < 0x80) {
        column[row] = low;
        continue;
      }
      const high = bytes[at++];
      if (high < 0x80) {
        column[row] = (low & 0x7f) | (high << 7);
        continue;
      }
      this.at = at - 2;
      column[row] = this.number();
      at = this.at;
    }
    this.at = at;
    return column;
  }
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function fromBase64(text) {
  const native = /** @type {any} */ (Uint8Array).fromBase64; // in browsers of 2025 and later
  if (native) return native.call(Uint8Array, text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** @param {string} base64 @returns {Promise<Data>} */
async function unpack(base64) {
  const unpacking = new DecompressionStream("deflate");
  const writer = unpacking.writable.getWriter();
  // What goes wrong there shows when the other end is read.
  writer.write(fromBase64(base64)).catch(() => {});
  writer.close().catch(() => {});
  const bytes = new Uint8Array(await new Response(unpacking.readable).arrayBuffer());
  const jsonLength = new DataView(bytes.buffer).getUint32(0, true);
  const json = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + jsonLength)));
  const columns = new Columns(bytes, 4 + jsonLength);

  const functions = readFunctions(columns, json.functions, json.strings);
  const nodes = readNodes(columns, json.nodes, functions.line);
  /** @type {Totals[]} */
  const totals = json.totals.map((/** @type {number} */ count) => readTotals(columns, count, json.clocks.length));
  const leaves = sortedLeaves(totals);
  let end_ns = json.numbers.end_monotonic_ns - json.numbers.start_monotonic_ns;
  /** @type {ThreadData[]} */
  const threads = json.threads.map((/** @type {any} */ thread) => {
    const timeline = readTimeline(columns, thread, leaves, json);
    if (!thread.is_folded && thread.entries > 0) end_ns = Math.max(end_ns, timeline.end_ns[thread.entries - 1]);
    return { ...thread, label: printable(thread.label), timeline };
  });
  /** @type {Map<string, Source>} */
  const sources = new Map();
  for (const { file, status, lines } of json.sources) {
    const byNumber = new Map();
    for (const [first, stretch] of lines) {
      stretch.split("\n").forEach((/** @type {string} */ line, /** @type {number} */ index) => byNumber.set(first + index, line));
    }
    sources.set(file, { status, lines: byNumber });
  }
  return { ...json, functions, nodes, totals, threads, sources, end_ns };
}

/** What `Columns.difference` reads, of a number that was read already. @param {number} value */
function signed(value) {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/** @param {Columns} columns @param {number} count @param {string[]} strings @returns {Functions} */
function readFunctions(columns, count, strings) {
  const text = () => Array.from(columns.column(count), (position) => strings[position]);
  return {
    count,
    name: text(),
    file: text(),
    line: columns.column(count),
    origin: columns.column(count),
    sourceFirst: columns.column(count),
    sourceLast: columns.column(count),
  };
}

/** @param {Columns} columns @param {number} count @param {Float64Array} firstLines @returns {Nodes} */
function readNodes(columns, count, firstLines) {
  const nodes = { count, parent: new Uint32Array(count), function: new Uint32Array(count), line: new Uint32Array(count) };
  const lengths = columns.column(4);
  const [successors, frames, functions, lines] = Array.from(lengths, (length) => {
    const part = new Columns(columns.bytes, columns.at);
    columns.at += length;
    return part;
  });
  /** Below each frame, which frames were seen. @type {number[][]} */
  const below = [[]];
  const functionOf = [0];
  const lineOf = [0];
  const frameOf = new Uint32Array(count);
  for (let node = 1; node < count; node++) {
    const parent = node - columns.number();
    const known = below[frameOf[parent]];
    const successor = successors.number();
    let frame = successor > 0 ? known[successor - 1] : frames.number();
    if (frame === 0) {
      frame = below.length;
      below.push([]);
      functionOf.push(functions.number());
      lineOf.push(firstLines[functionOf[frame]] + lines.difference());
    }
    if (successor === 0) known.push(frame);
    frameOf[node] = frame;
    nodes.parent[node] = parent;
    nodes.function[node] = functionOf[frame];
    nodes.line[node] = lineOf[frame];
  }
  return nodes;
}

/** @param {Columns} columns @param {number} count @param {number} clocks @returns {Totals} */
function readTotals(columns, count, clocks) {
  const node = columns.column(count);
  for (let row = 1; row < count; row++) node[row] += node[row - 1];
  const activity = columns.column(count);
  const samples = columns.column(count);
  const weights = [];
  const carriers = [];
  for (let clock = 0; clock < clocks; clock++) {
    const column = columns.column(count);
    for (let row = 0; row < count; row++) {
      column[row] = signed(column[row]) + (clock > 0 ? weights[clock - 1][row] : 0);
    }
    weights.push(column);
    const without = columns.column(count);
    for (let row = 0; row < count; row++) without[row] = samples[row] - without[row];
    carriers.push(without);
  }
  return { node, activity, samples, weights, carriers };
}

/** The nodes that are leaves, those with most samples first. @param {Totals[]} totals */
function sortedLeaves(totals) {
  /** @type {Map<number, number>} */
  const samples = new Map();
  for (const table of totals) {
    table.node.forEach((leaf, row) => samples.set(leaf, (samples.get(leaf) ?? 0) + table.samples[row]));
  }
  return Float64Array.from(Array.from(samples).sort((a, b) => b[1] - a[1] || a[0] - b[0]), ([leaf]) => leaf);
}

/** @param {Columns} columns @param {any} thread @param {Float64Array} leaves @param {any} json @returns {Timeline} */
function readTimeline(columns, thread, leaves, { clocks, unit_ns, window_runs }) {
  const count = thread.entries;
  const node = columns.column(count);
  for (let row = 0; row < count; row++) node[row] = leaves[node[row]];
  const gap = columns.column(count);
  const flags = columns.column(count);
  // Where one stands for a window of them, one has been looked at.
  const samples = window_runs > 1 ? new Float64Array(count).fill(1) : columns.column(count);
  const wall = columns.column(count);
  const weights = [];
  for (let clock = 0; clock < clocks.length; clock++) {
    const column = columns.column(count);
    for (let row = 0; row < count; row++) column[row] = (wall[row] + signed(column[row])) * unit_ns;
    weights.push(column);
  }
  const begin_ns = new Float64Array(count);
  const end_ns = new Float64Array(count);
  let at = 0;
  for (let row = 0; row < count; row++) {
    at += gap[row];
    begin_ns[row] = thread.start_ns + at * unit_ns;
    at += wall[row];
    end_ns[row] = thread.start_ns + at * unit_ns;
  }
  const activity = new Uint8Array(count);
  const carries = new Uint8Array(count);
  for (let row = 0; row < count; row++) {
    activity[row] = flags[row] & 3;
    carries[row] = flags[row] >> 2;
  }
  return { begin_ns, end_ns, node, activity, carries, samples, weights };
}

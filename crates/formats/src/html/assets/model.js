// @ts-check
// The call tree, and what it adds up to for a clock, threads and a range of time.

/**
 * What is looked at. `thread` is -1 for all; `range` is null for the whole recording, whose sums are exact.
 * @typedef {{clock: number, thread: number, range: [number, number] | null}} Choice
 */

/** The call tree of functions: nodes of the recorded tree that differ in lines only are one here. Node 0 is the root. */
class CallTree {
  /** @param {Data} data */
  constructor(data) {
    const { nodes, functions } = data;
    /** From a recorded node to its node here. */
    this.of = new Uint32Array(nodes.count);
    const parent = [0];
    const functionOf = [0];
    /** @type {Map<number, number>} */
    const index = new Map();
    for (let node = 1; node < nodes.count; node++) {
      const above = this.of[nodes.parent[node]];
      const key = above * functions.count + nodes.function[node];
      let here = index.get(key);
      if (here === undefined) {
        here = parent.length;
        index.set(key, here);
        parent.push(above);
        functionOf.push(nodes.function[node]);
      }
      this.of[node] = here;
    }
    this.count = parent.length;
    this.parent = Uint32Array.from(parent);
    this.function = Uint32Array.from(functionOf);
    this.depth = new Uint32Array(this.count);
    for (let node = 1; node < this.count; node++) this.depth[node] = this.depth[this.parent[node]] + 1;
    this.levels = this.depth.reduce((most, depth) => Math.max(most, depth), 0) + 1;

    /** The children of `node` are `children[firstChild[node]]` up to `firstChild[node + 1]`. */
    this.firstChild = new Uint32Array(this.count + 1);
    for (let node = 1; node < this.count; node++) this.firstChild[this.parent[node] + 1]++;
    for (let node = 0; node < this.count; node++) this.firstChild[node + 1] += this.firstChild[node];
    this.children = new Uint32Array(Math.max(0, this.count - 1));
    const next = this.firstChild.slice();
    for (let node = 1; node < this.count; node++) this.children[next[this.parent[node]]++] = node;
    this.outermost = this.#outermost(functions.count);
  }

  /** 1 for nodes whose function is nowhere above them. @param {number} functions */
  #outermost(functions) {
    const outermost = new Uint8Array(this.count);
    const onStack = new Uint32Array(functions);
    const open = this.count > 1 ? [0] : [];
    const next = this.firstChild.slice();
    while (open.length > 0) {
      const node = open[open.length - 1];
      if (next[node] < this.firstChild[node + 1]) {
        const child = this.children[next[node]++];
        outermost[child] = onStack[this.function[child]]++ === 0 ? 1 : 0;
        open.push(child);
      } else {
        onStack[this.function[node]]--;
        open.pop();
      }
    }
    return outermost;
  }

  /** Puts the children with most time first. @param {Float64Array} total by node */
  sortChildren(total) {
    for (let node = 0; node < this.count; node++) {
      const [from, to] = [this.firstChild[node], this.firstChild[node + 1]];
      if (to - from > 1) this.children.subarray(from, to).sort((a, b) => total[b] - total[a] || a - b);
    }
  }
}

/** Whether there is a table of exact sums. @param {Data} data @param {Choice} selection */
function isExact(data, { thread, range }) {
  return range === null && (thread === -1 || data.totals.length === data.threads.length);
}

/** What a selection adds up to, in nanoseconds of its clock. */
class Sums {
  /**
   * @param {Data} data @param {CallTree} tree @param {Choice} selection
   * @param {Sums} [old] no longer needed: while a range is dragged, no new memory is asked for in each frame
   */
  constructor(data, tree, selection, old) {
    /** By recorded node: while it was the innermost. @type {Float64Array} */
    this.recorded = old ? old.recorded.fill(0) : new Float64Array(data.nodes.count);
    /** By node and activity: while it was the innermost. @type {Float64Array} */
    this.own = old ? old.own.fill(0) : new Float64Array(tree.count * ACTIVITIES.length);
    /** By node: while it was on the stack. @type {Float64Array} */
    this.total = old ? old.total.fill(0) : new Float64Array(tree.count);
    /** By node: the samples that carry `total`. @type {Float64Array} */
    this.samples = old ? old.samples.fill(0) : new Float64Array(tree.count);
    this.byActivity = new Float64Array(ACTIVITIES.length);
    /** Some of the order of time was left out, so shares are what a part of the samples says. */
    this.isEstimate = data.window_runs > 1 && !isExact(data, selection);
    if (isExact(data, selection)) {
      const tables = selection.thread === -1 ? data.totals : [data.totals[selection.thread]];
      for (const totals of tables) this.#addTotals(tree, totals, selection.clock);
    } else {
      const { thread } = selection;
      for (const one of thread === -1 ? data.threads : [data.threads[thread]]) this.#addTimeline(tree, one, selection, data);
    }
    const { total, samples } = this;
    const { parent } = tree;
    for (let node = tree.count - 1; node > 0; node--) {
      // In a short range, most nodes have nothing.
      if (total[node] === 0 && samples[node] === 0) continue;
      total[parent[node]] += total[node];
      samples[parent[node]] += samples[node];
    }
    this.all = this.total[0];
    this.count = this.samples[0];
  }

  /** @param {CallTree} tree @param {Totals} totals @param {number} clock */
  #addTotals(tree, totals, clock) {
    const { [clock]: weights } = totals.weights;
    const { [clock]: carriers } = totals.carriers;
    for (let row = 0; row < weights.length; row++) {
      this.#add(tree, totals.node[row], totals.activity[row], weights[row], carriers[row]);
    }
  }

  /** @param {CallTree} tree @param {ThreadData} thread @param {Choice} selection @param {Data} data */
  #addTimeline(tree, thread, selection, data) {
    if (thread.is_folded && selection.range) return; // its samples have no time
    const [from, to] = selection.range ?? [-Infinity, Infinity];
    const { begin_ns, end_ns, node, activity, carries, samples, weights } = thread.timeline;
    const weight = weights[selection.clock];
    const bit = 1 << data.clocks[selection.clock].bit;
    for (let row = firstAfter(end_ns, from); row < weight.length && begin_ns[row] < to; row++) {
      const length = end_ns[row] - begin_ns[row];
      const inside = Math.min(end_ns[row], to) - Math.max(begin_ns[row], from);
      const part = length > 0 ? inside / length : 1;
      this.#add(tree, node[row], activity[row], weight[row] * part, carries[row] & bit ? samples[row] * part : 0);
    }
  }

  /** @param {CallTree} tree @param {number} recorded @param {number} activity @param {number} weight @param {number} samples */
  #add(tree, recorded, activity, weight, samples) {
    const node = tree.of[recorded];
    this.recorded[recorded] += weight;
    this.own[node * ACTIVITIES.length + activity] += weight;
    this.total[node] += weight;
    this.samples[node] += samples;
    this.byActivity[activity] += weight;
  }

  /** While the node was innermost, whatever the thread did. @param {number} node */
  ownOf(node) {
    const at = node * ACTIVITIES.length;
    return this.own[at] + this.own[at + 1] + this.own[at + 2];
  }
}

/** The first position whose value is above `limit`. @param {Float64Array} sorted @param {number} limit */
function firstAfter(sorted, limit) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * @typedef {{function: number, own: number, total: number, samples: number}} FunctionRow
 * @typedef {{function: number, weight: number}} Neighbour
 */

/** Every function of a selection. @param {CallTree} tree @param {Sums} sums @param {number} functions @returns {FunctionRow[]} */
function functionRows(tree, sums, functions) {
  const [own, total, samples] = [new Float64Array(functions), new Float64Array(functions), new Float64Array(functions)];
  for (let node = 1; node < tree.count; node++) {
    const here = tree.function[node];
    own[here] += sums.ownOf(node);
    if (tree.outermost[node]) {
      total[here] += sums.total[node];
      samples[here] += sums.samples[node];
    }
  }
  const rows = [];
  for (let here = 1; here < functions; here++) {
    if (total[here] > 0) rows.push({ function: here, own: own[here], total: total[here], samples: samples[here] });
  }
  return rows;
}

/**
 * Who called a function, and whom it called. Of a recursion the outermost call counts for callers and the innermost for
 * callees, so both add up to the function's total. A caller of 0 is none; a callee of 0 is the function itself.
 * @param {CallTree} tree @param {Sums} sums @param {number} wanted
 * @returns {{callers: Neighbour[], callees: Neighbour[]}}
 */
function neighbours(tree, sums, wanted) {
  const OUTSIDE = -1;
  const caller = new Int32Array(tree.count).fill(OUTSIDE);
  const callee = new Int32Array(tree.count).fill(OUTSIDE);
  /** @type {Map<number, number>} */
  const callers = new Map();
  /** @type {Map<number, number>} */
  const callees = new Map();
  for (let node = 1; node < tree.count; node++) {
    const above = tree.parent[node];
    const here = tree.function[node];
    caller[node] = caller[above] !== OUTSIDE ? caller[above] : here === wanted ? tree.function[above] : OUTSIDE;
    callee[node] = here === wanted ? 0 : callee[above] === 0 ? here : callee[above];
    const own = sums.ownOf(node);
    if (own > 0 && callee[node] !== OUTSIDE) {
      callers.set(caller[node], (callers.get(caller[node]) ?? 0) + own);
      callees.set(callee[node], (callees.get(callee[node]) ?? 0) + own);
    }
  }
  const sorted = (/** @type {Map<number, number>} */ map) =>
    Array.from(map, ([name, weight]) => ({ function: name, weight })).sort((a, b) => b.weight - a.weight);
  return { callers: sorted(callers), callees: sorted(callees) };
}

/**
 * The lines of a function: time with that line innermost, and with it anywhere on the stack, of a recursion the innermost.
 * @param {Data} data @param {Sums} sums @param {number} wanted
 * @returns {Map<number, {own: number, total: number}>}
 */
function lineSums({ nodes }, sums, wanted) {
  const NONE = -1;
  const line = new Int32Array(nodes.count).fill(NONE);
  /** @type {Map<number, {own: number, total: number}>} */
  const lines = new Map();
  for (let node = 1; node < nodes.count; node++) {
    const isHere = nodes.function[node] === wanted;
    line[node] = isHere ? nodes.line[node] : line[nodes.parent[node]];
    const weight = sums.recorded[node];
    if (line[node] === NONE || !(weight > 0)) continue;
    const sum = lines.get(line[node]) ?? { own: 0, total: 0 };
    sum.total += weight;
    if (isHere) sum.own += weight;
    lines.set(line[node], sum);
  }
  return lines;
}

/** The time in which a function of these was on the stack. @param {CallTree} tree @param {Sums} sums @param {Uint8Array} matches by function */
function weightOf(tree, sums, matches) {
  const below = new Uint8Array(tree.count);
  let weight = 0;
  for (let node = 1; node < tree.count; node++) {
    const isBelow = below[tree.parent[node]];
    const matched = matches[tree.function[node]];
    below[node] = isBelow | matched;
    if (matched && !isBelow) weight += sums.total[node];
  }
  return weight;
}

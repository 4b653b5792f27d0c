// @ts-check
// The report: what is looked at, and everything that follows when that changes.

/** How long after the last change of a range the tables follow: dragging redraws the flame graph alone. */
const SETTLE_MS = 120;

/** @type {Record<string, string>} */
const CLOCK_MEANINGS = {
  CPU: "Time on a processor",
  wall: "Time that went by, on a processor or waiting",
  GIL: "Time that went by while the thread held the GIL, so that no other could run Python code",
};

class ReportPage {
  /** @param {Data} data */
  constructor(data) {
    this.data = data;
    this.theme = new Theme();
    this.tree = new CallTree(data);
    /** @type {Choice} */
    this.selection = { clock: 0, thread: -1, range: null };
    this.chosen = -1;
    this.isFlipped = false;
    /** @type {Uint8Array | null} */
    this.matches = null;
    /** @type {FunctionRow[]} */
    this.rows = [];
    /** @type {Sums | undefined} */
    this.sums = undefined;
    this.settling = 0;
    /** The tables show what the flame graph shows. */
    this.settled = false;
    this.frameRequest = 0;

    const busy = data.threads.map((thread) => thread.timeline.weights[0].reduce((sum, weight) => sum + weight, 0));
    this.order = data.threads.map((_, index) => index);
    this.order.sort((a, b) => Number(data.threads[b].is_main) - Number(data.threads[a].is_main) || busy[b] - busy[a] || a - b);

    this.flame = new FlameGraph(data, this.tree, this.theme, {
      onHover: (frame, event) => this.tooltip(frame, event),
      onChoose: (frame) => this.chooseFrame(frame),
      onFocus: (frame) => this.say(this.describe(frame)),
      onView: () => this.viewChanged(),
    });
    this.lanes = new ThreadLanes(data, this.order, this.theme, {
      onRange: (range) => this.setRange(range),
      onThread: (thread) => this.setThread(thread),
    });
    const choose = (/** @type {number} */ chosen) => this.choose(chosen);
    this.table = new FunctionTable(data, choose);
    this.detail = new FunctionDetail(data, this.tree, choose);
    this.fillPage();
    this.listen();
    this.update({ isMoved: true });
    this.suggest();
  }

  /** Something to read from the start: where most time went. */
  suggest() {
    const hottest = this.rows.reduce((best, row) => (best && best.own >= row.own ? best : row), this.rows[0]);
    if (hottest) {
      this.chosen = hottest.function;
      this.table.select(this.chosen);
      this.detail.show(this.chosen, this.rows, /** @type {Sums} */ (this.sums));
    }
  }

  fillPage() {
    const { data } = this;
    const { numbers } = data;
    byId("title").textContent = printable(data.title) || "Profile";
    const command = printable(numbers.argv.join(" "));
    const began = numbers.start_unix_ns > 0 ? new Date(numbers.start_unix_ns / 1e6).toLocaleString() : "";
    const python = [numbers.implementation, numbers.python_version].filter(Boolean).join(" ");
    const subtitle = [formatTime(data.end_ns), began, printable(python), printable(numbers.platform)].filter(Boolean).join(" · ");
    byId("subtitle").textContent = cut(subtitle, 300);
    byId("subtitle").title = cut(command, 1000);

    const clocks = byId("clocks");
    data.clocks.forEach((clock, index) => {
      const label = clock.label === "wall" ? "Wall" : clock.label;
      clocks.append(make("button", { type: "button", title: CLOCK_MEANINGS[clock.label] ?? "", "aria-pressed": String(index === 0), click: () => this.setClock(index) }, label));
    });
    const threads = byId("thread");
    threads.append(make("option", { value: -1 }, "All threads"));
    for (const thread of this.order) threads.append(make("option", { value: thread }, cut(data.threads[thread].label, 80) || "(no name)"));

    const legend = byId("legend");
    const labels = [...data.origins, ACTIVITIES[WAITING], ACTIVITIES[WAITING_FOR_GIL]];
    labels.forEach((label, index) => {
      legend.append(make("li", {}, make("span", { class: `swatch frame-${FRAME_COLOURS[index]}` }), label));
    });
    byId("lanes-section").hidden = !(data.end_ns > 0) || data.threads.length === 0;
    this.fillNumbers();
    this.paintTheme();
  }

  /** What was asked, got and lost. */
  fillNumbers() {
    const { numbers, window_runs, threads, totals } = this.data;
    const duration = numbers.end_monotonic_ns - numbers.start_monotonic_ns;
    const rate = `${numbers.samples_per_second.toFixed(1)} samples/s`;
    const lost = numbers.dropped + numbers.missed_ticks + numbers.truncated_stacks + numbers.torn_stacks;
    const short = byId("numbers-short");
    short.textContent = `${formatCount(numbers.samples)} samples · ${lost > 0 ? `${formatCount(lost)} missed or cut` : "none missed"}`;
    short.classList.toggle("lossy", lost > 0);
    const list = byId("numbers-list");
    const add = (/** @type {string} */ term, /** @type {string} */ text, isLossy = false) =>
      list.append(make("dt", {}, term), make("dd", { class: isLossy ? "lossy" : "" }, text));
    const count = (/** @type {string} */ term, /** @type {number} */ value) => add(term, formatCount(value), value > 0);
    if (numbers.argv.length > 0) add("Program", cut(printable(numbers.argv.join(" ")), 500));
    if (numbers.pid > 0) add("Process", String(numbers.pid));
    add("Asked", numbers.interval_ns > 0 ? `a sample every ${formatTime(numbers.interval_ns)} of each thread on a processor (${(1e9 / numbers.interval_ns).toFixed(1)}/s)` : "the file does not say");
    add("Got", duration > 0 ? `${rate} over ${formatCount(threads.length)} threads` : "the file does not say");
    if (numbers.ending) add("Ended by", printable(numbers.ending), numbers.ending === "SIGTERM" || numbers.ending === "out of memory");
    add("Samples", formatCount(numbers.samples));
    count("Dropped", numbers.dropped);
    count("Missed", numbers.missed_ticks);
    count("Truncated", numbers.truncated_stacks);
    count("Torn", numbers.torn_stacks);
    if (numbers.collapsed > 0) count("Cut for memory", numbers.collapsed);
    if (numbers.coarsened > 0) add("Merged for memory", formatCount(numbers.coarsened));
    if (numbers.folded_threads > 0) add("Threads put together", formatCount(numbers.folded_threads));
    const cpu = numbers.profiler_cpu_ns;
    add("Profiler CPU", `${formatTime(cpu)}${duration > 0 ? ` (${formatShare(cpu / duration)} of one processor)` : ""}`);
    add("Profiler memory", formatBytes(numbers.memory_bytes));
    add("Sums", totals.length === threads.length ? "exact for the whole recording" : "exact for the whole recording and all threads together");
    if (window_runs > 1) {
      const what = totals.length === threads.length ? "Ranges of time" : "Ranges, single threads";
      add(what, `from one of ${formatCount(window_runs)} stretches with the same stack, drawn by weight, to keep this file small: their sums are right, their shares an estimate`);
    } else {
      add("Ranges of time", "from every sample; one that reaches over an end counts in part");
    }
  }

  paintTheme() {
    this.theme.read();
    // Swatches take the very tones that the canvas has.
    FRAME_COLOURS.forEach((name, index) => {
      document.documentElement.style.setProperty(`--tone-${name}`, this.theme.frames[index * SHADES + 1]);
    });
    byId("theme").textContent = this.theme.isDark ? "Light" : "Dark";
    byId("theme").title = `Change to ${this.theme.isDark ? "light" : "dark"} colours`;
  }

  listen() {
    byId("theme").addEventListener("click", () => {
      this.theme.toggle();
      this.repaint();
    });
    this.theme.preferred.addEventListener("change", () => this.repaint());
    byId("thread").addEventListener("change", () => this.setThread(Number(/** @type {HTMLSelectElement} */ (byId("thread")).value)));
    byId("search").addEventListener("input", () => this.search());
    byId("flip").addEventListener("click", () => this.flip());
    byId("zoom-reset").addEventListener("click", () => this.flame.reset());
    byId("range-clear").addEventListener("click", () => this.setRange(null));
    byId("help-open").addEventListener("click", () => this.help());
    document.addEventListener("keydown", (event) => this.onKey(event));
    document.addEventListener("click", (event) => {
      const numbers = /** @type {HTMLDetailsElement} */ (byId("numbers"));
      if (!numbers.contains(/** @type {Node} */ (event.target))) numbers.open = false;
    });
    new ResizeObserver(() => {
      this.flame.resize();
      this.lanes.draw();
    }).observe(byId("report"));
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const help = /** @type {HTMLDialogElement} */ (byId("help"));
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const isTyping = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    if (event.key === "Escape") {
      // Some browsers empty a search by themselves, and say nothing of it.
      event.preventDefault();
      this.escape();
      if (isTyping) target.blur();
    }
    if (isTyping) return;
    const { clocks, threads } = this.data;
    switch (event.key) {
      case "/":
        event.preventDefault();
        byId("search").focus();
        return;
      case "?":
        return this.help();
      case "f":
        return this.flip();
      case "0":
        return this.flame.reset();
      case "c":
        return this.setClock((this.selection.clock + 1) % clocks.length);
      case "t": {
        const next = this.order.indexOf(this.selection.thread) + 1;
        return this.setThread(next < threads.length ? this.order[next] : -1);
      }
    }
  }

  /** One step back: the search, the zoom, the range. */
  escape() {
    const search = /** @type {HTMLInputElement} */ (byId("search"));
    const numbers = /** @type {HTMLDetailsElement} */ (byId("numbers"));
    if (numbers.open) numbers.open = false;
    else if (search.value || this.matches) {
      search.value = "";
      this.search();
    } else if (this.flame.isZoomed) this.flame.reset();
    else this.setRange(null);
  }

  help() {
    /** @type {HTMLDialogElement} */ (byId("help")).showModal();
  }

  flip() {
    this.isFlipped = !this.isFlipped;
    byId("flip").setAttribute("aria-pressed", String(this.isFlipped));
    this.flame.flip(this.isFlipped);
  }

  repaint() {
    this.paintTheme();
    this.flame.draw();
    this.lanes.draw();
  }

  /** @param {number} clock */
  setClock(clock) {
    this.selection.clock = clock;
    Array.from(byId("clocks").children).forEach((button, index) => button.setAttribute("aria-pressed", String(index === clock)));
    this.update({ isMoved: true });
  }

  /** @param {number} thread -1 for all */
  setThread(thread) {
    this.selection.thread = thread;
    /** @type {HTMLSelectElement} */ (byId("thread")).value = String(thread);
    this.lanes.select(thread);
    this.update({ isMoved: true });
  }

  /** @param {[number, number] | null} range */
  setRange(range) {
    this.selection.range = range;
    this.lanes.setRange(range);
    const text = range
      ? `${formatTime(range[0])} – ${formatTime(range[1])} (${formatTime(range[1] - range[0])})`
      : "Drag to look at a range of time";
    byId("range-text").textContent = text;
    /** @type {HTMLButtonElement} */ (byId("range-clear")).disabled = range === null;
    this.settled = false;
    // While dragging, one drawing a frame is enough, and the tables come after.
    cancelAnimationFrame(this.frameRequest);
    this.frameRequest = requestAnimationFrame(() => this.update({ isDragged: true }));
  }

  /**
   * Everything that depends on the selection. After a move, to another clock or thread, frames are put in order anew; a
   * range leaves them where they are, since frames that jump cannot be followed by eye. While it is dragged, the tables wait.
   * @param {{isMoved?: boolean, isDragged?: boolean}} [change]
   */
  update({ isMoved = false, isDragged = false } = {}) {
    this.sums = new Sums(this.data, this.tree, this.selection, this.sums);
    if (isMoved) {
      const whole = this.selection.range ? new Sums(this.data, this.tree, { ...this.selection, range: null }) : this.sums;
      this.tree.sortChildren(whole.total);
    }
    const { thread } = this.selection;
    this.flame.rootName = thread === -1 ? "All threads" : this.data.threads[thread].label;
    this.flame.show(this.sums, isDragged);
    this.viewChanged();
    clearTimeout(this.settling);
    if (isDragged) this.settling = window.setTimeout(() => this.settle(), SETTLE_MS);
    else this.updateTables();
  }

  /** What was left undone while a range was dragged. */
  settle() {
    this.flame.show(/** @type {Sums} */ (this.sums));
    this.updateTables();
  }

  updateTables() {
    const sums = /** @type {Sums} */ (this.sums);
    this.rows = functionRows(this.tree, sums, this.data.functions.count);
    this.table.show(this.rows, sums);
    this.detail.show(this.chosen, this.rows, sums);
    this.showFound();
    this.settled = true;
  }

  viewChanged() {
    /** @type {HTMLButtonElement} */ (byId("zoom-reset")).disabled = !this.flame.isZoomed;
    if (!(document.activeElement === this.flame.box && this.flame.focused >= 0)) this.say(this.describe(this.flame.frameOf[this.flame.zoomed]));
  }

  /** @param {number} frame */
  chooseFrame(frame) {
    const { flame, tree } = this;
    const node = flame.node[frame];
    if (node === 0) flame.reset();
    else {
      flame.zoom(frame);
      this.choose(tree.function[node]);
    }
    this.say(this.describe(frame));
  }

  /** @param {number} chosen a function */
  choose(chosen) {
    this.chosen = chosen;
    this.flame.selected = chosen;
    this.flame.draw();
    this.table.select(chosen);
    this.detail.show(chosen, this.rows, /** @type {Sums} */ (this.sums));
  }

  search() {
    const query = /** @type {HTMLInputElement} */ (byId("search")).value.trim().toLowerCase();
    const { functions } = this.data;
    this.matches = null;
    if (query) {
      this.matches = new Uint8Array(functions.count);
      for (let here = 1; here < functions.count; here++) {
        const text = `${functions.name[here]}\n${functions.file[here]}`.toLowerCase();
        this.matches[here] = text.includes(query) ? 1 : 0;
      }
    }
    this.flame.matches = this.matches;
    this.table.matches = this.matches;
    this.flame.draw();
    this.table.draw();
    this.showFound();
  }

  showFound() {
    const { sums, matches } = this;
    const share = sums && matches && sums.all > 0 ? weightOf(this.tree, sums, matches) / sums.all : 0;
    byId("found").textContent = matches ? formatShare(share) : "";
  }

  /** @param {string} text */
  say(text) {
    const status = byId("status");
    if (status.textContent !== text) status.textContent = text;
  }

  /** A frame in one line. @param {number} frame */
  describe(frame) {
    const { sums, flame } = this;
    if (!sums || frame < 0 || !(sums.all > 0)) return "\u00a0";
    const node = flame.node[frame];
    if (flame.kind[frame] !== IS_FUNCTION) {
      const weight = sums.own[node * ACTIVITIES.length + flame.kind[frame]];
      return `${ACTIVITIES[flame.kind[frame]]} in ${flame.names[this.tree.function[node]]}: ${formatTime(weight)} (${formatShare(weight / sums.all)})`;
    }
    const total = sums.total[node];
    const name = cut(flame.nameOf(frame), 200);
    if (node === 0) {
      const outside = sums.ownOf(0);
      return `${name}: ${formatTime(total)}, ${formatCount(sums.count)} samples${outside > 0 ? `, ${formatTime(outside)} of it without a Python function` : ""}${sums.isEstimate ? ", shares are estimated" : ""}`;
    }
    return `${name}: total ${formatTime(total)} (${formatShare(total / sums.all)}), self ${formatTime(sums.ownOf(node))}`;
  }

  /** @param {number} frame @param {MouseEvent | null} event */
  tooltip(frame, event) {
    const tooltip = byId("tooltip");
    const { sums, data, flame } = this;
    tooltip.hidden = frame < 0 || !event || !sums;
    if (tooltip.hidden || !sums || !event) return;
    const node = flame.node[frame];
    const here = this.tree.function[node];
    const note = (/** @type {string} */ text) => make("span", { class: "note" }, make("bdi", {}, text));
    const own = sums.ownOf(node);
    const total = sums.total[node];
    const at = node * ACTIVITIES.length;
    const share = (/** @type {number} */ weight) => `${formatTime(weight)} · ${formatShare(weight / sums.all)} ${formatError(weight / sums.all, sums.count)}`;
    /** @type {Node[]} */
    const lines = [make("strong", {}, make("bdi", {}, cut(flame.nameOf(frame), 300)))];
    if (flame.kind[frame] !== IS_FUNCTION) {
      lines.push(note(`in ${cut(flame.names[here], 200)}`), make("span", {}, share(sums.own[at + flame.kind[frame]])));
    } else {
      if (node > 0) {
        const file = data.functions.file[here];
        const line = data.functions.line[here];
        lines.push(note(`${file ? cut(printable(file), 300) : "no file"}${line ? `:${line}` : ""} · ${data.origins[data.functions.origin[here]]}`));
      }
      lines.push(make("div", {}, `Total ${share(total)}`), make("div", {}, `${node > 0 ? "Self" : "Without Python"} ${share(own)}`));
      if (sums.own[at + WAITING] > 0) lines.push(note(`of it waiting ${formatTime(sums.own[at + WAITING])}`));
      if (sums.own[at + WAITING_FOR_GIL] > 0) lines.push(note(`of it waiting for the GIL ${formatTime(sums.own[at + WAITING_FOR_GIL])}`));
      lines.push(note(`${formatCount(sums.samples[node])} samples`));
    }
    tooltip.replaceChildren(...lines);
    const { offsetWidth, offsetHeight } = tooltip;
    const left = Math.min(event.clientX + 14, window.innerWidth - offsetWidth - 8);
    const top = event.clientY + 18 + offsetHeight > window.innerHeight ? event.clientY - offsetHeight - 10 : event.clientY + 18;
    tooltip.style.left = `${Math.max(4, left)}px`;
    tooltip.style.top = `${Math.max(4, top)}px`;
  }
}

async function start() {
  const message = byId("message");
  try {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("This browser is too old for this report: it needs one of 2023 or later.");
    }
    const data = await unpack(byId("data").textContent ?? "");
    byId("report").hidden = false;
    const report = new ReportPage(data);
    // For scripts and tests that want to know what the page shows.
    Object.assign(window, { spprof: report });
    document.documentElement.dataset.state = "ready";
  } catch (error) {
    message.hidden = false;
    message.textContent = `The report cannot be shown. ${error instanceof Error ? error.message : error}`;
    document.documentElement.dataset.state = "failed";
    throw error;
  }
}

start();

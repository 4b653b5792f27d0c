// @ts-check
// The flame graph: where every frame lies, drawing what is in view, and looking at it with mouse and keyboard.

const ROW_PX = 20;
const FONT = '12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';
const LABEL_PADDING_PX = 5;
/** Narrower frames are drawn together, as a trace that something is there. */
const CRUMB_PX = 0.7;
const DRAG_PX = 4;
/** The narrowest view: below it, rounding would show. */
const MIN_VIEW = 1e-9;

/** A frame that stands for no function: the end of a stack whose thread was waiting. It is named by its activity. */
const IS_FUNCTION = 0;

class FlameGraph {
  /**
   * @param {Data} data @param {CallTree} tree @param {Theme} theme
   * @param {{onHover: (frame: number, event: MouseEvent | null) => void, onChoose: (frame: number) => void,
   *   onFocus: (frame: number) => void, onView: () => void}} events
   */
  constructor(data, tree, theme, events) {
    this.data = data;
    this.tree = tree;
    this.theme = theme;
    this.events = events;
    this.box = byId("flame");
    this.space = byId("flame-space");
    /** @type {HTMLCanvasElement} */
    this.canvas = byId("flame-canvas");
    this.names = data.functions.name.map((name) => cut(printable(name), 400));

    const most = tree.count * ACTIVITIES.length;
    // Frames, level by level, each level from left to right. `x` and `w` are shares of the whole width.
    this.node = new Int32Array(most);
    this.kind = new Uint8Array(most);
    this.x = new Float64Array(most);
    this.w = new Float64Array(most);
    /** @type {number[]} */
    this.levelStart = [0, 0];
    /** By node of the tree; -1 for one without time. */
    this.frameOf = new Int32Array(tree.count);

    this.from = 0;
    this.to = 1;
    this.zoomed = 0;
    this.isFlipped = false;
    this.hovered = -1;
    this.focused = -1;
    this.selected = -1;
    /** @type {Uint8Array | null} By function, when something is searched. */
    this.matches = null;
    this.rootName = "";
    this.charWidth = 0;
    this.listen();
  }

  get levels() {
    return this.levelStart.length - 1;
  }

  /**
   * Lays out everything anew.
   * @param {Sums} sums @param {boolean} [isBrief] what is too narrow to be seen now is left out: another layout follows
   */
  show(sums, isBrief = false) {
    const { tree } = this;
    const focusedNode = this.focused >= 0 ? this.node[this.focused] : -1;
    this.sums = sums;
    this.frameOf.fill(-1);
    let count = 0;
    const add = (/** @type {number} */ node, /** @type {number} */ kind, /** @type {number} */ x, /** @type {number} */ w) => {
      this.node[count] = node;
      this.kind[count] = kind;
      this.x[count] = x;
      this.w[count] = w;
      if (kind === IS_FUNCTION) this.frameOf[node] = count;
      count++;
    };
    add(0, IS_FUNCTION, 0, 1);
    const levelStart = [0, 1];
    const scale = sums.all > 0 ? 1 / sums.all : 0;
    const least = isBrief ? (CRUMB_PX * (this.to - this.from)) / Math.max(1, this.box.clientWidth) : 0;
    for (let frame = 0; frame < count; ) {
      for (const end = count; frame < end; frame++) {
        if (this.kind[frame] !== IS_FUNCTION || this.w[frame] < least) continue;
        const node = this.node[frame];
        let x = this.x[frame];
        const append = (/** @type {number} */ child, /** @type {number} */ kind, /** @type {number} */ weight) => {
          if (!(weight > 0)) return;
          add(child, kind, x, weight * scale);
          x += weight * scale;
        };
        for (let at = tree.firstChild[node]; at < tree.firstChild[node + 1]; at++) {
          append(tree.children[at], IS_FUNCTION, sums.total[tree.children[at]]);
        }
        // A thread without a Python frame is at the root, and what it does there is no news.
        for (const kind of node > 0 ? [WAITING, WAITING_FOR_GIL] : []) {
          append(node, kind, sums.own[node * ACTIVITIES.length + kind]);
        }
      }
      if (count > frame) levelStart.push(count);
    }
    this.levelStart = levelStart;
    this.hovered = -1;
    this.focused = focusedNode >= 0 ? this.frameOf[focusedNode] : -1;
    if (this.zoomed > 0 && this.frameOf[this.zoomed] >= 0) this.look(this.frameOf[this.zoomed]);
    this.resize();
  }

  /** The view is that frame's width. @param {number} frame */
  look(frame) {
    this.from = this.x[frame];
    this.to = this.x[frame] + Math.max(this.w[frame], MIN_VIEW);
  }

  /** @param {number} frame */
  zoom(frame) {
    const node = this.node[frame];
    this.zoomed = node;
    this.look(this.frameOf[node]);
    this.reveal(frame);
    this.draw();
    this.events.onView();
  }

  reset() {
    this.zoomed = 0;
    [this.from, this.to] = [0, 1];
    this.draw();
    this.events.onView();
  }

  get isZoomed() {
    return this.from > 0 || this.to < 1;
  }

  /** @param {number} shift as a share of the width in view */
  pan(shift) {
    const width = this.to - this.from;
    this.from = Math.min(Math.max(0, this.from + shift * width), 1 - width);
    this.to = this.from + width;
    this.zoomed = 0;
    this.draw();
    this.events.onView();
  }

  /** @param {number} factor below 1: closer @param {number} at what stays where it is, as a share of the width in view */
  scale(factor, at) {
    const width = Math.min(1, Math.max(MIN_VIEW, (this.to - this.from) * factor));
    const still = this.from + at * (this.to - this.from);
    this.from = Math.min(Math.max(0, still - at * width), 1 - width);
    this.to = this.from + width;
    this.zoomed = 0;
    this.draw();
    this.events.onView();
  }

  /** @param {boolean} isFlipped the root is at the bottom */
  flip(isFlipped) {
    this.isFlipped = isFlipped;
    this.resize();
    this.box.scrollTop = isFlipped ? this.box.scrollHeight : 0;
    this.draw();
  }

  /** @param {number} frame */
  levelOf(frame) {
    let [low, high] = [0, this.levels];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.levelStart[middle] <= frame) low = middle;
      else high = middle;
    }
    return low;
  }

  /** From a level to its place and back. @param {number} level */
  rowOf(level) {
    return this.isFlipped ? this.levels - 1 - level : level;
  }

  /** Scrolls until the frame is in view. @param {number} frame */
  reveal(frame) {
    const top = this.rowOf(this.levelOf(frame)) * ROW_PX;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop) this.box.scrollTop = Math.max(0, top - ROW_PX);
    else if (top + ROW_PX > scrollTop + clientHeight) this.box.scrollTop = top + 2 * ROW_PX - clientHeight;
  }

  resize() {
    // As high as the deepest stack of all and what may follow it, whatever is shown now: the page must not jump.
    this.box.style.height = `min(var(--flame-height), ${(this.tree.levels + 1) * ROW_PX}px)`;
    this.space.style.height = `${this.levels * ROW_PX}px`;
    this.draw();
  }

  draw() {
    const [width, height] = [this.box.clientWidth, this.box.clientHeight];
    const context = prepare(this.canvas, width, height);
    if (!this.sums || !(this.sums.all > 0)) {
      context.fillStyle = this.theme.colours.muted;
      context.font = "13px system-ui, sans-serif";
      context.textBaseline = "middle";
      context.fillText("No time was recorded here.", 12, ROW_PX);
      return;
    }
    const { tree, theme, node, kind, x, w } = this;
    const { origin } = this.data.functions;
    const scale = width / (this.to - this.from);
    const scroll = this.box.scrollTop;
    const [firstRow, lastRow] = [Math.floor(scroll / ROW_PX), Math.ceil((scroll + height) / ROW_PX)];
    const tones = theme.frames.length;
    /** @type {number[][]} By tone, then the same for what no search matches: left, top and width. */
    const batches = Array.from({ length: 2 * tones }, () => []);
    /** @type {number[]} */
    const labels = [];
    /** @type {number[]} */
    const outlined = [];
    for (let row = Math.max(0, firstRow); row < Math.min(this.levels, lastRow); row++) {
      const level = this.rowOf(row);
      const top = row * ROW_PX - scroll;
      const end = this.levelStart[level + 1];
      let frame = this.firstInView(level, this.from);
      while (frame < end && x[frame] < this.to) {
        const here = tree.function[node[frame]];
        const isFunction = kind[frame] === IS_FUNCTION;
        const colour = !isFunction
          ? [0, WAITING_COLOUR, GIL_COLOUR][kind[frame]]
          : node[frame] > 0
            ? origin[here]
            : ROOT_COLOUR;
        const isDim = this.matches !== null && !(this.matches[here] && isFunction);
        const batch = batches[colour * SHADES + (isFunction ? here % SHADES : 1) + (isDim ? tones : 0)];
        const left = Math.max(0, (x[frame] - this.from) * scale);
        const right = Math.min(width, (x[frame] + w[frame] - this.from) * scale);
        if (right - left < CRUMB_PX) {
          // One stroke for all that share this pixel; the next one to look at is behind it.
          batch.push(left, top, CRUMB_PX);
          frame = Math.max(frame + 1, this.firstInView(level, this.from + (left + 1) / scale));
          continue;
        }
        batch.push(left, top, right - left > 3 ? right - left - 1 : right - left);
        if (right - left > 30) labels.push(frame, left, top, right - left);
        if (isFunction && here === this.selected && node[frame] > 0) outlined.push(left, top, right - left);
        frame++;
      }
    }
    for (let tone = 0; tone < batches.length; tone++) {
      context.globalAlpha = tone < tones ? 1 : 0.28;
      context.fillStyle = theme.frames[tone % tones];
      const batch = batches[tone];
      for (let at = 0; at < batch.length; at += 3) context.fillRect(batch[at], batch[at + 1], batch[at + 2], ROW_PX - 1);
    }
    context.globalAlpha = 1;
    this.label(context, labels);
    context.lineWidth = 2;
    context.strokeStyle = theme.colours.accent;
    for (let at = 0; at < outlined.length; at += 3) {
      context.strokeRect(outlined[at] + 1, outlined[at + 1] + 1, Math.max(1, outlined[at + 2] - 3), ROW_PX - 3);
    }
    for (const frame of [this.hovered, document.activeElement === this.box ? this.focused : -1]) {
      if (frame < 0) continue;
      const left = Math.max(0, (x[frame] - this.from) * scale);
      const right = Math.min(width, (x[frame] + w[frame] - this.from) * scale);
      const top = this.rowOf(this.levelOf(frame)) * ROW_PX - scroll;
      context.strokeStyle = theme.colours.ink;
      if (right > left) context.strokeRect(left + 1, top + 1, Math.max(1, right - left - 3), ROW_PX - 3);
    }
  }

  /** The first frame of a level that reaches beyond `at`. @param {number} level @param {number} at */
  firstInView(level, at) {
    let [low, high] = [this.levelStart[level], this.levelStart[level + 1]];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.x[middle] + this.w[middle] > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** @param {CanvasRenderingContext2D} context @param {number[]} labels frame, left, top and width of each */
  label(context, labels) {
    context.font = FONT;
    context.textBaseline = "middle";
    context.direction = "ltr";
    this.charWidth ||= context.measureText("mmmmmmmmmm").width / 10;
    for (let at = 0; at < labels.length; at += 4) {
      const [frame, left, top, width] = labels.slice(at, at + 4);
      const room = width - 2 * LABEL_PADDING_PX;
      let most = Math.floor(room / this.charWidth);
      if (most < 2) continue;
      const name = this.nameOf(frame);
      let text = cut(name, most);
      // Characters of other scripts are wider.
      while (most > 2 && /[^\u0000-\u02ff]/.test(name) && context.measureText(text).width > room) {
        most = Math.floor(most * 0.8);
        text = cut(name, most);
      }
      const isDim = this.matches !== null && !(this.matches[this.tree.function[this.node[frame]]] && this.kind[frame] === 0);
      context.fillStyle = isDim ? this.theme.colours.muted : this.theme.colours["frame-ink"];
      context.fillText(text, left + LABEL_PADDING_PX, top + ROW_PX / 2, room);
    }
  }

  /** What a frame is called. @param {number} frame */
  nameOf(frame) {
    if (this.kind[frame] !== IS_FUNCTION) return ACTIVITIES[this.kind[frame]];
    const node = this.node[frame];
    return node === 0 ? this.rootName : this.names[this.tree.function[node]] || "(no name)";
  }

  /** The frame at a point of the canvas; -1 if there is none. @param {number} px @param {number} py */
  frameAt(px, py) {
    const row = Math.floor((py + this.box.scrollTop) / ROW_PX);
    const level = this.rowOf(row);
    if (level < 0 || level >= this.levels || !this.sums || !(this.sums.all > 0)) return -1;
    const perPixel = (this.to - this.from) / this.box.clientWidth;
    const at = this.from + px * perPixel;
    const frame = this.firstInView(level, at);
    return frame < this.levelStart[level + 1] && this.x[frame] <= at + perPixel ? frame : -1;
  }

  listen() {
    const { box } = this;
    const at = (/** @type {MouseEvent} */ event) => {
      const { left, top } = box.getBoundingClientRect();
      return /** @type {[number, number]} */ ([event.clientX - left - box.clientLeft, event.clientY - top - box.clientTop]);
    };
    /** @type {{x: number, y: number, from: number, scroll: number, isDrag: boolean} | null} */
    let grip = null;
    box.addEventListener("pointerdown", (event) => {
      // What lies right of the content is the scroll bar.
      if (event.button !== 0 || at(event)[0] > box.clientWidth) return;
      grip = { x: event.clientX, y: event.clientY, from: this.from, scroll: box.scrollTop, isDrag: false };
    });
    window.addEventListener("pointermove", (event) => {
      if (!grip) return;
      const [dx, dy] = [event.clientX - grip.x, event.clientY - grip.y];
      if (!grip.isDrag && Math.hypot(dx, dy) < DRAG_PX) return;
      grip.isDrag = true;
      this.events.onHover(-1, null);
      const width = this.to - this.from;
      box.scrollTop = grip.scroll - dy;
      this.pan((grip.from - (dx / box.clientWidth) * width - this.from) / width);
    });
    window.addEventListener("pointerup", (event) => {
      if (grip && !grip.isDrag) {
        const frame = this.frameAt(...at(event));
        this.focused = frame;
        if (frame >= 0) this.events.onChoose(frame);
      }
      grip = null;
    });
    window.addEventListener("pointercancel", () => (grip = null));
    box.addEventListener("mousemove", (event) => {
      if (grip?.isDrag) return;
      const frame = this.frameAt(...at(event));
      if (frame !== this.hovered) {
        this.hovered = frame;
        this.draw();
      }
      this.events.onHover(frame, event);
    });
    box.addEventListener("mouseleave", () => {
      this.hovered = -1;
      this.events.onHover(-1, null);
      this.draw();
    });
    box.addEventListener(
      "wheel",
      (event) => {
        if (event.ctrlKey || event.metaKey) {
          event.preventDefault();
          this.scale(Math.exp(event.deltaY * 0.004), at(event)[0] / box.clientWidth);
        } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
          event.preventDefault();
          this.pan((event.deltaX || event.deltaY) / box.clientWidth);
        }
      },
      { passive: false },
    );
    box.addEventListener("scroll", () => {
      this.events.onHover(-1, null);
      this.draw();
    });
    box.addEventListener("focus", () => this.draw());
    box.addEventListener("blur", () => this.draw());
    box.addEventListener("keydown", (event) => this.onKey(event));
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const away = this.isFlipped ? "ArrowUp" : "ArrowDown";
    const back = this.isFlipped ? "ArrowDown" : "ArrowUp";
    const frame = this.focused >= 0 ? this.focused : this.frameOf[this.zoomed] >= 0 ? this.frameOf[this.zoomed] : 0;
    switch (event.key) {
      case away:
        return this.moveTo(event, this.focused < 0 ? frame : this.childOf(frame));
      case back:
        return this.moveTo(event, this.parentOf(frame));
      case "ArrowLeft":
      case "ArrowRight": {
        const next = frame + (event.key === "ArrowLeft" ? -1 : 1);
        const level = this.levelOf(frame);
        const isThere = next >= this.levelStart[level] && next < this.levelStart[level + 1];
        return this.moveTo(event, isThere ? next : frame);
      }
      case "Enter":
      case " ":
        event.preventDefault();
        return this.events.onChoose(frame);
      case "+":
      case "=":
        return this.scale(0.8, 0.5);
      case "-":
        return this.scale(1.25, 0.5);
      case "a":
        return this.pan(-0.1);
      case "d":
        return this.pan(0.1);
    }
  }

  /** @param {KeyboardEvent} event @param {number} frame */
  moveTo(event, frame) {
    event.preventDefault();
    this.focused = frame;
    const [left, right] = [this.x[frame], this.x[frame] + this.w[frame]];
    if (right <= this.from || left >= this.to) {
      const width = this.to - this.from;
      this.from = Math.min(Math.max(0, (left + right - width) / 2), 1 - width);
      this.to = this.from + width;
    }
    this.reveal(frame);
    this.draw();
    this.events.onFocus(frame);
  }

  /** @param {number} frame */
  parentOf(frame) {
    if (this.kind[frame] !== IS_FUNCTION) return this.frameOf[this.node[frame]];
    return this.frameOf[this.tree.parent[this.node[frame]]];
  }

  /** The child with most time; the frame itself if there is none. @param {number} frame */
  childOf(frame) {
    const level = this.levelOf(frame);
    if (this.kind[frame] !== IS_FUNCTION || level + 1 >= this.levels) return frame;
    const end = this.levelStart[level + 2];
    let best = -1;
    for (let child = this.firstInView(level + 1, this.x[frame]); child < end && this.parentOf(child) <= frame; child++) {
      if (this.parentOf(child) === frame && (best < 0 || this.w[child] > this.w[best])) best = child;
    }
    return best < 0 ? frame : best;
  }
}

// @ts-check
// The threads over time: a lane each, which shows what the thread did, and the range that is looked at.

const LANE_PX = 22;
const AXIS_PX = 20;
/** More are in the list of threads only. */
const MAX_LANES = 200;
/** A key press moves the range by so much of the recording. */
const STEP = 0.02;

class ThreadLanes {
  /**
   * @param {Data} data @param {number[]} order threads, as they are shown @param {Theme} theme
   * @param {{onRange: (range: [number, number] | null) => void, onThread: (thread: number) => void}} events
   */
  constructor(data, order, theme, events) {
    this.data = data;
    this.order = order.slice(0, MAX_LANES);
    this.theme = theme;
    this.events = events;
    this.box = byId("lanes");
    /** @type {HTMLCanvasElement} */
    this.canvas = byId("lanes-canvas");
    this.end = data.end_ns;
    /** @type {[number, number] | null} */
    this.range = null;
    this.selected = -1;
    const labels = byId("lane-labels");
    this.buttons = this.order.map((thread) => {
      const label = data.threads[thread].label || "(no name)";
      const choose = () => events.onThread(this.selected === thread ? -1 : thread);
      const button = make("button", { type: "button", class: "lane-label", title: cut(label, 300), "aria-pressed": "false", click: choose }, make("bdi", {}, cut(label, 120)));
      labels.append(button);
      return button;
    });
    const left_out = order.length - this.order.length;
    if (left_out > 0) labels.append(make("span", { class: "lane-label note" }, `and ${formatCount(left_out)} more`));
    this.height = AXIS_PX + (this.order.length + (left_out > 0 ? 1 : 0)) * LANE_PX;
    /** What each lane is coloured by, a column for a pixel, until the width changes. @type {Map<number, Float32Array>} */
    this.columns = new Map();
    this.columnsWidth = 0;
    /** The lanes without the range, which alone changes when it is dragged. */
    this.picture = document.createElement("canvas");
    this.pictureKey = "";
    this.listen();
  }

  /** @param {number} thread */
  select(thread) {
    this.selected = thread;
    this.order.forEach((other, index) => this.buttons[index].setAttribute("aria-pressed", String(other === thread)));
    this.draw();
  }

  /** @param {[number, number] | null} range */
  setRange(range) {
    this.range = range;
    this.draw();
  }

  /** Shares of each activity by pixel. @param {number} thread @param {number} width */
  columnsOf(thread, width) {
    if (this.columnsWidth !== width) {
      this.columns.clear();
      this.columnsWidth = width;
    }
    let shares = this.columns.get(thread);
    if (!shares) {
      shares = new Float32Array(width * ACTIVITIES.length);
      this.columns.set(thread, shares);
      const { begin_ns, end_ns, activity } = this.data.threads[thread].timeline;
      const perNs = width / this.end;
      for (let row = 0; row < begin_ns.length; row++) {
        const [from, to] = [begin_ns[row] * perNs, Math.min(width, end_ns[row] * perNs)];
        for (let pixel = Math.floor(from); pixel < to; pixel++) {
          shares[pixel * ACTIVITIES.length + activity[row]] += Math.min(to, pixel + 1) - Math.max(from, pixel);
        }
      }
    }
    return shares;
  }

  draw() {
    const width = Math.floor(this.box.clientWidth);
    if (width < 1) return;
    this.box.style.height = `${this.height}px`;
    const key = `${width} ${this.selected} ${this.theme.isDark} ${window.devicePixelRatio}`;
    if (key !== this.pictureKey) this.drawLanes(prepare(this.picture, width, this.height), width);
    this.pictureKey = key;
    const context = prepare(this.canvas, width, this.height);
    context.drawImage(this.picture, 0, 0, width, this.height);
    if (this.range) this.drawRange(context, width, this.range);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width */
  drawLanes(context, width) {
    const { colours } = this.theme;
    this.axis(context, width);
    this.order.forEach((thread, lane) => {
      const top = AXIS_PX + lane * LANE_PX;
      const [base, height] = [top + LANE_PX - 3, LANE_PX - 6];
      context.fillStyle = colours.line;
      context.fillRect(0, top + LANE_PX - 1, width, 1);
      context.globalAlpha = this.selected === -1 || this.selected === thread ? 1 : 0.35;
      if (this.data.threads[thread].is_folded) {
        context.fillStyle = colours.muted;
        context.font = "11px system-ui, sans-serif";
        context.textBaseline = "middle";
        context.fillText("several ended threads, whose order in time was given up; not in ranges", 6, top + LANE_PX / 2);
      } else {
        const shares = this.columnsOf(thread, width);
        for (let pixel = 0; pixel < width; pixel++) {
          const at = pixel * ACTIVITIES.length;
          const [running, waiting, gil] = [shares[at + RUNNING], shares[at + WAITING], shares[at + WAITING_FOR_GIL]];
          if (waiting > 0.02) {
            context.fillStyle = colours.waiting;
            context.fillRect(pixel, base - 3, 1, 3);
          }
          if (running > 0) {
            context.fillStyle = colours.running;
            context.fillRect(pixel, base - height * Math.min(1, running), 1, height * Math.min(1, running));
          }
          if (gil > 0) {
            context.fillStyle = colours.gil;
            context.fillRect(pixel, base - height * Math.min(1, running + gil), 1, height * Math.min(1, gil));
          }
        }
      }
      context.globalAlpha = 1;
    });
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {[number, number]} range */
  drawRange(context, width, range) {
    const { colours } = this.theme;
    const [from, to] = range.map((ns) => (ns / this.end) * width);
    context.fillStyle = colours.panel;
    context.globalAlpha = 0.7;
    context.fillRect(0, AXIS_PX, from, this.height);
    context.fillRect(to, AXIS_PX, width, this.height);
    context.globalAlpha = 1;
    context.fillStyle = colours.accent;
    context.fillRect(Math.max(0, from - 1), 0, 2, this.height);
    context.fillRect(Math.min(width - 2, to - 1), 0, 2, this.height);
    context.fillRect(from, 0, to - from, 3);
  }

  /** Ticks at round times. @param {CanvasRenderingContext2D} context @param {number} width */
  axis(context, width) {
    const { colours } = this.theme;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const rough = (this.end * 90) / width;
    const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? power;
    for (let at = 0; at <= this.end; at += step) {
      const x = Math.round((at / this.end) * width);
      context.fillStyle = colours.line;
      context.fillRect(x, 0, 1, this.height);
      context.fillStyle = colours.muted;
      if (x < width - 50) context.fillText(formatTick(at, step), x + 4, AXIS_PX / 2);
    }
  }

  listen() {
    const { box } = this;
    const timeAt = (/** @type {MouseEvent} */ event) => {
      const { left, width } = box.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - left) / width)) * this.end;
    };
    /** @type {{x: number, at: number, moved: [number, number] | null, isDrag: boolean} | null} */
    let grip = null;
    box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const at = timeAt(event);
      // Inside a range its whole is moved; Shift begins a new one all the same.
      const isInside = this.range !== null && at > this.range[0] && at < this.range[1] && !event.shiftKey;
      grip = { x: event.clientX, at, moved: isInside ? this.range : null, isDrag: false };
      box.setPointerCapture(event.pointerId);
    });
    box.addEventListener("pointermove", (event) => {
      const at = timeAt(event);
      if (!grip) {
        const isInside = this.range !== null && at > this.range[0] && at < this.range[1];
        box.style.cursor = isInside ? "grab" : "crosshair";
        return;
      }
      if (!grip.isDrag && Math.abs(event.clientX - grip.x) < DRAG_PX) return;
      grip.isDrag = true;
      if (grip.moved) this.moveTo(grip.moved[0] + at - grip.at, grip.moved[1] - grip.moved[0]);
      else this.events.onRange([Math.min(grip.at, at), Math.max(grip.at, at)]);
    });
    box.addEventListener("pointerup", (event) => {
      if (grip && !grip.isDrag) {
        const lane = Math.floor((event.clientY - box.getBoundingClientRect().top - AXIS_PX) / LANE_PX);
        if (this.range && !grip.moved) this.events.onRange(null);
        else if (lane >= 0 && lane < this.order.length) {
          this.events.onThread(this.order[lane] === this.selected ? -1 : this.order[lane]);
        }
      }
      grip = null;
    });
    box.addEventListener("pointercancel", () => (grip = null));
    box.addEventListener("dblclick", () => this.events.onRange(null));
    box.addEventListener("keydown", (event) => {
      const sign = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey || !sign) return;
      event.preventDefault();
      const [from, to] = this.range ?? [0, this.end / 10];
      const step = sign * STEP * this.end;
      if (!this.range) this.events.onRange([from, to]);
      else if (event.shiftKey) this.events.onRange([from, Math.min(this.end, Math.max(from + Math.abs(step) / 4, to + step))]);
      else this.moveTo(from + step, to - from);
    });
  }

  /** @param {number} from @param {number} length */
  moveTo(from, length) {
    const start = Math.min(Math.max(0, from), this.end - length);
    this.events.onRange([start, start + length]);
  }
}

/** A time on the axis, with the decimals that its step needs. @param {number} ns @param {number} step */
function formatTick(ns, step) {
  const [size, unit] = step >= 1e8 ? [1e9, "s"] : step >= 1e5 ? [1e6, "ms"] : step >= 1e2 ? [1e3, "µs"] : [1, "ns"];
  return `${(ns / size).toLocaleString("en", { maximumFractionDigits: 1 })} ${unit}`;
}

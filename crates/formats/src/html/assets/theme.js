// @ts-check
// Light and dark, and the colours that canvases take from the style sheet.

/** In the order of `origins` in the data; then those of threads that wait, and of all time. */
const FRAME_COLOURS = ["own", "library", "standard", "native", "gc", "waiting", "gil", "root"];
const WAITING_COLOUR = 5;
const GIL_COLOUR = 6;
const ROOT_COLOUR = 7;

/** How often a tone returns: neighbours of one kind differ a little. */
const SHADES = 3;

class Theme {
  constructor() {
    this.preferred = matchMedia("(prefers-color-scheme: dark)");
    this.chosen = storedTheme();
    /** @type {Record<string, string>} */
    this.colours = {};
    /** Fill styles by colour and shade. @type {string[]} */
    this.frames = [];
    this.read();
  }

  get isDark() {
    return this.chosen ? this.chosen === "dark" : this.preferred.matches;
  }

  /** The other one, from now on. */
  toggle() {
    this.chosen = this.isDark ? "light" : "dark";
    try {
      localStorage.setItem("spprof-theme", this.chosen);
    } catch {
      // Some browsers keep nothing for files.
    }
    this.read();
  }

  read() {
    document.documentElement.dataset.theme = this.isDark ? "dark" : "light";
    const style = getComputedStyle(document.documentElement);
    const of = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    for (const name of ["ink", "muted", "faint", "line", "panel", "accent", "running", "gil", "waiting", "frame-ink", "match"]) {
      this.colours[name] = of(name);
    }
    this.frames = FRAME_COLOURS.flatMap((name) => {
      const [hue, saturation, lightness] = of(`frame-${name}`).split(" ").map(parseFloat);
      return Array.from({ length: SHADES }, (_, shade) => `hsl(${hue} ${saturation}% ${lightness + (shade - 1) * 2.5}%)`);
    });
  }
}

function storedTheme() {
  try {
    const stored = localStorage.getItem("spprof-theme");
    return stored === "light" || stored === "dark" ? stored : null;
  } catch {
    return null;
  }
}

/** Makes a canvas as sharp as the screen and returns its context and size in CSS pixels. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [pixelWidth, pixelHeight] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) {
    canvas.width = pixelWidth;
    canvas.height = pixelHeight;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// @ts-check
// What times, shares and names look like, and how elements are made.

/** By the number of decimals: making one of these takes longer than drawing a frame may. */
const DECIMALS = [0, 1, 2].map(
  (decimals) => new Intl.NumberFormat("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }),
);

/** A time with three digits and its unit. @param {number} ns */
function formatTime(ns) {
  const [value, unit] =
    ns >= 1e9 ? [ns / 1e9, "s"] : ns >= 1e6 ? [ns / 1e6, "ms"] : ns >= 1e3 ? [ns / 1e3, "µs"] : [ns, "ns"];
  if (ns === 0) return "0 s";
  if (unit === "ns") return `${Math.round(value)} ns`;
  const decimals = value >= 100 ? (unit === "s" ? 1 : 0) : value >= 10 ? 1 : 2;
  return `${DECIMALS[decimals].format(value)} ${unit}`;
}

/** A share of 1 in percent. @param {number} share */
function formatShare(share) {
  const percent = share * 100;
  if (!Number.isFinite(percent)) return "–";
  return `${percent.toFixed(percent !== 0 && percent < 0.1 ? 2 : 1)} %`;
}

/** The standard error of a share that `count` samples show. @param {number} share @param {number} count */
function formatError(share, count) {
  if (!(count > 0)) return "";
  const percent = 100 * Math.sqrt(Math.max(0, share * (1 - share)) / count);
  return `± ${percent.toFixed(percent !== 0 && percent < 0.1 ? 2 : 1)}`;
}

/** A whole number with separators. @param {number} count */
function formatCount(count) {
  return DECIMALS[0].format(Math.round(count));
}

/** Bytes. @param {number} bytes */
function formatBytes(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e3).toFixed(0)} kB`;
}

/** Control characters, line ends and those that turn the direction of text around: shown as what they are. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** A name as it can be shown on one line. @param {string} text */
function printable(text) {
  return text.replace(UNPRINTABLE, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`);
}

/** At most so many characters, the end left out. @param {string} text @param {number} most */
function cut(text, most) {
  if (text.length <= most) return text;
  // Not between the two halves of a character.
  const end = /[\ud800-\udbff]/.test(text[most - 2]) ? most - 2 : most - 1;
  return `${text.slice(0, end)}…`;
}

/** The last part of a path. @param {string} path */
function baseName(path) {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}

/**
 * The element of that id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (element);
}

/**
 * A new element. Text is only ever set as text.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | EventListener>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

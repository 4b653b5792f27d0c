// @ts-check
// The tables below the flame graph: all functions, and one of them with its callers, callees and source.

/** Rows of a table until more are asked for. */
const FIRST_ROWS = 100;

class FunctionTable {
  /** @param {Data} data @param {(chosen: number) => void} onChoose */
  constructor(data, onChoose) {
    this.data = data;
    this.onChoose = onChoose;
    this.names = data.functions.name.map((name) => cut(printable(name), 200) || "(no name)");
    this.body = byId("functions-body");
    this.more = byId("functions-more");
    /** @type {FunctionRow[]} */
    this.rows = [];
    this.all = 0;
    this.count = 0;
    this.sort = "own";
    this.isDescending = true;
    this.limit = FIRST_ROWS;
    this.selected = -1;
    /** @type {Uint8Array | null} */
    this.matches = null;
    for (const button of document.querySelectorAll("#functions th button")) {
      button.addEventListener("click", () => this.sortBy(/** @type {HTMLElement} */ (button).dataset.sort ?? "own"));
    }
    this.more.addEventListener("click", () => {
      this.limit *= 5;
      this.draw();
    });
    this.body.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("tr");
      if (row) onChoose(Number(row.dataset.function));
    });
  }

  /** @param {string} key */
  sortBy(key) {
    this.isDescending = key === this.sort ? !this.isDescending : key !== "name";
    this.sort = key;
    this.draw();
  }

  /** @param {FunctionRow[]} rows @param {Sums} sums */
  show(rows, sums) {
    this.rows = rows;
    this.all = sums.all;
    this.count = sums.count;
    this.draw();
  }

  /** @param {FunctionRow} row */
  key(row) {
    return this.sort === "total" ? row.total : this.sort === "samples" ? row.samples : row.own;
  }

  draw() {
    const sign = this.isDescending ? -1 : 1;
    const { matches, names } = this;
    const rows = matches ? this.rows.filter((row) => matches[row.function]) : this.rows.slice();
    rows.sort((a, b) => {
      const order = this.sort === "name" ? names[a.function].localeCompare(names[b.function], "en") : this.key(a) - this.key(b);
      return sign * order || b.total - a.total || a.function - b.function;
    });
    for (const head of document.querySelectorAll("#functions th")) {
      const isSorted = /** @type {HTMLElement | null} */ (head.querySelector("button"))?.dataset.sort === this.sort;
      if (isSorted) head.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.body.replaceChildren(...rows.slice(0, this.limit).map((row) => this.row(row)));
    if (rows.length === 0) {
      this.body.append(make("tr", {}, make("td", { colspan: 6, class: "note" }, matches ? "No function of that name." : "No function was seen.")));
    }
    this.more.hidden = rows.length <= this.limit;
    this.more.textContent = `Show more of ${formatCount(rows.length)}`;
  }

  /** @param {FunctionRow} row */
  row(row) {
    const { functions } = this.data;
    const file = functions.file[row.function];
    const where = file ? `${baseName(file)}${functions.line[row.function] ? `:${functions.line[row.function]}` : ""}` : "";
    const name = make(
      "button",
      { type: "button", class: "name", title: cut(printable(functions.name[row.function]), 500) },
      make("span", { class: `swatch frame-${FRAME_COLOURS[functions.origin[row.function]]}`, title: this.data.origins[functions.origin[row.function]] }),
      make("bdi", {}, this.names[row.function]),
    );
    const number = (/** @type {string} */ text, /** @type {string} */ kind = "") => make("td", { class: `number ${kind}` }, text);
    return make(
      "tr",
      { "data-function": row.function, class: row.function === this.selected ? "selected" : "" },
      make("td", { class: "name-cell" }, name, make("span", { class: "where", title: cut(printable(file), 500) }, make("bdi", {}, cut(printable(where), 80)))),
      number(formatTime(row.own)),
      this.share(row.own),
      number(formatTime(row.total)),
      this.share(row.total),
      number(formatCount(row.samples)),
    );
  }

  /** @param {number} weight */
  share(weight) {
    const share = this.all > 0 ? weight / this.all : 0;
    const bar = make("span", { class: "bar" });
    bar.style.width = `${Math.min(100, share * 100)}%`;
    return make("td", { class: "number share" }, bar, make("span", { class: "percent" }, formatShare(share)), make("span", { class: "error" }, formatError(share, this.count)));
  }

  /** @param {number} chosen */
  select(chosen) {
    this.selected = chosen;
    for (const row of this.body.querySelectorAll("tr")) {
      row.classList.toggle("selected", Number(row.dataset.function) === chosen);
    }
  }
}

class FunctionDetail {
  /** @param {Data} data @param {CallTree} tree @param {(chosen: number) => void} onChoose */
  constructor(data, tree, onChoose) {
    this.data = data;
    this.tree = tree;
    this.onChoose = onChoose;
    this.box = byId("detail");
  }

  /** @param {number} chosen -1 for none @param {FunctionRow[]} rows @param {Sums} sums */
  show(chosen, rows, sums) {
    if (chosen < 0) {
      this.box.replaceChildren(make("p", { class: "note" }, "Choose a function in the flame graph or in the table to see who calls it, whom it calls, and its lines."));
      return;
    }
    const { functions, origins } = this.data;
    const row = rows.find((row) => row.function === chosen) ?? { function: chosen, own: 0, total: 0, samples: 0 };
    const { callers, callees } = neighbours(this.tree, sums, chosen);
    const file = printable(functions.file[chosen]);
    const where = file ? `${file}${functions.line[chosen] ? `:${functions.line[chosen]}` : ""}` : "no file";
    const share = (/** @type {number} */ weight) => (sums.all > 0 ? weight / sums.all : 0);
    const fact = (/** @type {string} */ label, /** @type {number} */ weight) =>
      `${label} ${formatTime(weight)} (${formatShare(share(weight))} ${formatError(share(weight), sums.count)})`;
    this.box.replaceChildren(
      make("h3", { id: "detail-name" }, make("bdi", {}, printable(functions.name[chosen]) || "(no name)")),
      make("p", { class: "note where-full" }, make("bdi", {}, cut(where, 1000)), ` · ${origins[functions.origin[chosen]]}`),
      make("p", { class: "facts" }, `${fact("Self", row.own)} · ${fact("total", row.total)}`),
      make("div", { class: "pair" }, this.list("Callers", "callers", callers, row.total, "nobody: it is where the thread begins"), this.list("Callees", "callees", callees, row.total, "itself")),
      this.source(chosen, sums, row.total),
    );
  }

  /** @param {string} title @param {string} id @param {Neighbour[]} neighbours @param {number} total @param {string} none */
  list(title, id, neighbours, total, none) {
    const { functions } = this.data;
    const rows = neighbours.slice(0, FIRST_ROWS).map(({ function: other, weight }) => {
      const name = cut(printable(functions.name[other]), 200) || "(no name)";
      const cell =
        other === 0
          ? make("span", { class: "note" }, none)
          : make("button", { type: "button", class: "name", title: cut(printable(functions.file[other]), 500), click: () => this.onChoose(other) }, make("span", { class: `swatch frame-${FRAME_COLOURS[functions.origin[other]]}` }), make("bdi", {}, name));
      const bar = make("span", { class: "bar" });
      bar.style.width = `${total > 0 ? (100 * weight) / total : 0}%`;
      return make("tr", {}, make("td", { class: "name-cell" }, cell), make("td", { class: "number" }, formatTime(weight)), make("td", { class: "number share" }, bar, formatShare(total > 0 ? weight / total : 0)));
    });
    const rest = neighbours.length - rows.length;
    if (rest > 0) rows.push(make("tr", {}, make("td", { colspan: 3, class: "note" }, `and ${formatCount(rest)} more with less`)));
    if (neighbours.length === 0) rows.push(make("tr", {}, make("td", { colspan: 3, class: "note" }, "none here")));
    return make("section", {}, make("h4", {}, title), make("table", { id, "aria-label": title }, make("tbody", {}, ...rows)));
  }

  /** @param {number} chosen @param {Sums} sums @param {number} total */
  source(chosen, sums, total) {
    const { functions, sources } = this.data;
    const lines = lineSums(this.data, sums, chosen);
    const source = sources.get(functions.file[chosen]);
    const [first, last] = [functions.sourceFirst[chosen], functions.sourceLast[chosen]];
    const numbers = new Set(Array.from(lines.keys()).filter((line) => line > 0));
    for (let line = first; line > 0 && line <= last; line++) if (source?.lines.has(line)) numbers.add(line);
    const rows = [];
    let before = 0;
    for (const number of Array.from(numbers).sort((a, b) => a - b)) {
      if (before > 0 && number > before + 1 && first > 0) rows.push(make("tr", {}, make("td", { colspan: 4, class: "gap" }, "⋯")));
      before = number;
      rows.push(this.line(number, lines.get(number), source?.lines.get(number) ?? "", total));
    }
    const hasLines = Array.from(lines.keys()).some((line) => line > 0);
    const without = hasLines ? "" : "The profile does not say at which lines it was. ";
    const why = without + (first > 0 ? "" : explainSource(source?.status, functions.file[chosen]));
    const body = rows.length > 0 ? make("div", { class: "scroll" }, make("table", { id: "source", "aria-label": "Lines" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Line"), make("th", { scope: "col" }, "Self"), make("th", { scope: "col" }, "Total"), make("th", { scope: "col" }, "Source"))), make("tbody", {}, ...rows))) : "";
    return make("section", {}, make("h4", {}, "Lines"), make("p", { id: "source-note", class: "note", hidden: !why }, why), body);
  }

  /** @param {number} number @param {{own: number, total: number} | undefined} sum @param {string} text @param {number} total */
  line(number, sum, text, total) {
    const share = sum && total > 0 ? sum.total / total : 0;
    const row = make(
      "tr",
      { "data-line": number },
      make("td", { class: "number line-number" }, String(number)),
      make("td", { class: "number" }, sum && sum.own > 0 ? formatShare(sum.own / total) : ""),
      make("td", { class: "number" }, sum ? formatShare(share) : ""),
      make("td", { class: "code" }, make("code", { dir: "ltr" }, text.replace(UNPRINTABLE, (char) => (char === "\t" ? char : printable(char))))),
    );
    if (share > 0) row.style.setProperty("--heat", String(Math.round(share * 100)));
    return row;
  }
}

/** Why there is no text. @param {string | undefined} status @param {string} file */
function explainSource(status, file) {
  switch (status) {
    case "read":
      return "The text was left out to keep this file small.";
    case "changed":
      return "The file has changed since the recording, so its text is not shown.";
    case "missing":
      return "The file was not there, or is no Python file, when this report was written.";
    case "no_time":
      return "The profile does not say when it was recorded, so the text is not shown: the file may have changed.";
    default:
      return file ? "There is no file of that name to show." : "No file is known.";
  }
}

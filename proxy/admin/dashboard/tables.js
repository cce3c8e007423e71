// Tables that are updated in place: rows keep their identity, so that a selection, the focus
// and an opened row live on while the numbers change.

import { make, put } from "./format.js";

const KINDS = ["number", "main", "text", "tight", "wide", "full"];
const kinds = (column) => KINDS.filter((kind) => column[kind]).join(" ") || null;
const NOUGHT = /^(0|0\.0|0 s|0 %|–)$/;

/**
 * A sortable table in `holder`.
 *
 * Options: `caption` (for screen readers); `columns`, see below; `key`: row to its identity;
 * `sort`: { name, down }; `detail`: row to { element, update(row) } for opened rows; `onsort`:
 * told of a new order; `empty`: text.
 *
 * A column is { name, label, title, show (row to text) or fill (cell, row), value (row to what
 * is sorted by), fixed (cannot be sorted) } and its kinds: number (right aligned, sorted
 * downwards first), main (the head of the card on a phone), text (needs room), tight (one line),
 * wide (not on a phone), full (takes all of a phone's width).
 */
export class Table {
  constructor(holder, options) {
    this.holder = holder;
    this.options = options;
    this.sort = { ...options.sort };
    this.rows = [];
    this.lines = new Map(); // key -> { line, cells, row, under, detail }
    this.opened = new Set();
    this.heads = new Map();
    this.select = make("select", { "aria-label": "Sort by" });
    const head = make("tr", { role: "row" });
    for (const column of options.columns) {
      const label = column.fixed
        ? make("span", { class: "label" }, column.label)
        : make("button", { type: "button", onclick: () => this.turn(column) }, column.label);
      const cell = make(
        "th",
        {
          scope: "col",
          role: "columnheader",
          title: column.title,
          class: kinds(column),
        },
        label,
      );
      this.heads.set(column.name, cell);
      head.append(cell);
      if (!column.fixed) this.select.append(make("option", { value: column.name }, column.label));
    }
    this.select.addEventListener("change", () => {
      this.order(options.columns.find((column) => column.name === this.select.value));
    });
    this.body = make("tbody", { role: "rowgroup" });
    this.nothing = make("p", { class: "nothing" }, options.empty ?? "Nothing");
    this.table = make(
      "table",
      { role: "table" },
      make("caption", { class: "unseen" }, options.caption),
      make("thead", { role: "rowgroup" }, head),
      this.body,
    );
    const choice = make("label", { class: "sorting" }, make("span", {}, "Sort by"), this.select);
    holder.append(choice, make("div", { class: "scroll" }, this.table), this.nothing);
    this.mark();
  }

  turn(column) {
    if (this.sort.name === column.name) this.order(column, !this.sort.down);
    else this.order(column);
  }

  order(column, down = Boolean(column.number)) {
    this.sort = { name: column.name, down };
    this.mark();
    this.update(this.rows);
    this.options.onsort?.(this.sort);
  }

  mark() {
    for (const [name, cell] of this.heads) {
      if (name === this.sort.name) {
        cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      } else cell.removeAttribute("aria-sort");
    }
    this.select.value = this.sort.name;
  }

  /** Show these rows. */
  update(rows) {
    this.rows = rows;
    const column = this.options.columns.find((each) => each.name === this.sort.name);
    const sorted =
      column === undefined ? rows : [...rows].sort((a, b) => this.compare(column, a, b));
    const seen = new Set();
    const focused = document.activeElement;
    let last = null;
    for (const row of sorted) {
      const key = this.options.key(row);
      if (seen.has(key)) continue;
      seen.add(key);
      const kept = this.lines.get(key) ?? this.add(key, row);
      this.fill(kept, row);
      last = this.place(kept.line, last);
      if (kept.under !== null) last = this.place(kept.under, last);
    }
    for (const [key, kept] of this.lines) {
      if (seen.has(key)) continue;
      kept.line.remove();
      kept.under?.remove();
      this.lines.delete(key);
    }
    // A line that has moved has lost it.
    if (focused !== document.activeElement && this.body.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
    this.table.hidden = sorted.length === 0;
    this.holder.firstElementChild.hidden = sorted.length < 2;
    this.nothing.hidden = sorted.length > 0;
  }

  compare(column, a, b) {
    const value = column.value ?? ((row) => row[column.name]);
    const [one, other] = [value(a) ?? null, value(b) ?? null];
    if (one === other) return 0;
    if (one === null) return 1; // what is unknown comes last, whatever the direction
    if (other === null) return -1;
    const less = typeof one === "string" ? one.localeCompare(other) : one - other;
    return this.sort.down ? -less : less;
  }

  place(line, last) {
    const next = last === null ? this.body.firstElementChild : last.nextElementSibling;
    if (next !== line) this.body.insertBefore(line, next);
    return line;
  }

  add(key, row) {
    const kept = { line: make("tr", { role: "row" }), cells: [], under: null, detail: null, row };
    for (const column of this.options.columns) {
      const cell = make("td", {
        role: "cell",
        "data-label": column.label,
        class: kinds(column),
      });
      kept.cells.push(cell);
      kept.line.append(cell);
    }
    if (this.options.detail) {
      const first = this.options.columns.findIndex((column) => column.main);
      const button = make("button", { type: "button", class: "open", "aria-expanded": "false" });
      const inside = make("span", { class: "inside" });
      button.append(inside);
      kept.cells[first].append(button);
      kept.cells[first] = inside;
      kept.button = button;
      kept.line.classList.add("opens");
      kept.line.addEventListener("click", (event) => {
        const selects = String(getSelection()) !== "";
        if (!selects && !event.target.closest("a")) this.toggle(key);
      });
    }
    this.lines.set(key, kept);
    if (this.opened.has(key)) this.open(kept, row);
    return kept;
  }

  fill(kept, row) {
    kept.row = row;
    this.options.columns.forEach((column, at) => {
      if (column.fill) column.fill(kept.cells[at], row);
      else {
        const text = column.show(row);
        put(kept.cells[at], text);
        kept.cells[at].classList.toggle("nought", NOUGHT.test(text));
      }
    });
    kept.detail?.update(row);
  }

  toggle(key, open = !this.opened.has(key)) {
    const kept = this.lines.get(key);
    if (open) this.opened.add(key);
    else this.opened.delete(key);
    if (kept === undefined) return;
    if (open && kept.under === null) {
      this.open(kept, kept.row);
      kept.line.after(kept.under);
    } else if (!open && kept.under !== null) {
      kept.under.remove();
      kept.under = kept.detail = null;
      kept.line.classList.remove("opened");
      kept.button.setAttribute("aria-expanded", "false");
    }
  }

  open(kept, row) {
    kept.detail = this.options.detail(row);
    const cell = make(
      "td",
      { role: "cell", colspan: this.options.columns.length },
      kept.detail.element,
    );
    kept.under = make("tr", { role: "row", class: "under" }, cell);
    kept.line.classList.add("opened");
    kept.button.setAttribute("aria-expanded", "true");
    kept.detail.update(row);
  }
}

/** Bars in `holder`: `[label, value, text, colour]` each, the longest one full. */
export function bars(holder, rows, empty) {
  const most = Math.max(...rows.map((row) => row[1]), 0);
  const list = make("ul", { class: "bars" });
  for (const [label, value, text, colour] of rows) {
    const bar = make("span", { class: `bar c-${colour ?? "plain"}` });
    bar.style.width = `${most ? Math.max(0.6, (value / most) * 100) : 0}%`;
    list.append(
      make(
        "li",
        {},
        make("span", { class: "what" }, label),
        make("b", {}, text),
        make("span", { class: "track" }, bar),
      ),
    );
  }
  holder.replaceChildren(rows.length ? list : make("p", { class: "nothing" }, empty));
}

// Plots as inline SVG: sparklines, lines with bands, stacked areas. They share one cursor.

import { clock, make, put, short } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 52, right: 10, top: 10, bottom: 22 };

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const near = (value) => Math.round(value * 10) / 10;

const DOT = "m-1.2 0a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0";

/** Path of a line over points `[x, y]`; null is a gap. A point alone becomes a `dot`. */
function line(points, dot = DOT) {
  let path = "";
  let open = false;
  points.forEach((point, at) => {
    if (point === null) {
      open = false;
      return;
    }
    const [x, y] = point;
    path += `${open ? "L" : "M"}${near(x)} ${near(y)}`;
    if (!open && (points[at + 1] ?? null) === null) path += dot;
    open = true;
  });
  return path;
}

/** Path of the area between two lines over the same x; gaps where either has one. */
function area(upper, lower) {
  let path = "";
  let from = null;
  for (let at = 0; at <= upper.length; at += 1) {
    const here = at < upper.length && upper[at] !== null && lower[at] !== null;
    if (here && from === null) from = at;
    if (!here && from !== null) {
      const there = upper.slice(from, at).map(([x, y]) => `${near(x)} ${near(y)}`);
      const back = lower
        .slice(from, at)
        .reverse()
        .map(([x, y]) => `${near(x)} ${near(y)}`);
      path += `M${there.join("L")}L${back.join("L")}Z`;
      from = null;
    }
  }
  return path;
}

/** Put a small line of `values` (null is a gap) into `holder`; its lowest value is `least`. */
export function sparkline(holder, values, { least = 0, most = null } = {}) {
  let svg = holder.firstElementChild;
  if (svg === null) {
    svg = draw("svg", {
      viewBox: "0 0 100 30",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    svg.append(draw("path", { class: "fill" }), draw("path", { class: "line" }));
    holder.append(svg);
  }
  const known = values.filter((value) => value !== null);
  const top = most ?? Math.max(...known, least);
  const low = least === null ? Math.min(...known) : least;
  const height = top - low || 1;
  const place = (value, at) => [
    values.length > 1 ? (at / (values.length - 1)) * 100 : 100,
    28.5 - ((value - low) / height) * 26,
  ];
  const points = values.map((value, at) => (value === null ? null : place(value, at)));
  const ground = points.map((point) => (point === null ? null : [point[0], 30]));
  svg.firstElementChild.setAttribute("d", known.length > 1 ? area(points, ground) : "");
  svg.lastElementChild.setAttribute("d", known.length > 1 ? line(points, "h.01") : "");
}

/** Round steps that divide `0..most` into about four. */
function linearTicks(most) {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) * power;
  const ticks = [];
  for (let at = 0; at <= Math.ceil(most / step - 1e-9); at += 1) ticks.push(at * step);
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  const wide = high - low > 4;
  for (let power = low; power <= high; power += wide ? 2 : 1) ticks.push(10 ** power);
  return ticks;
}

const plots = new Set();
let cursor = null; // the time that is pointed at, Unix seconds

function point(time) {
  if (time === cursor) return;
  cursor = time;
  for (const plot of plots) plot.readOut();
}

/**
 * One plot in a `figure`.
 *
 * Options: `title`; `hint`; `lines`: a list of { name, label, colour, thin, band (name of the
 * line that its band reaches to), hidden (true: only when it has values) }; `kind`: "lines" or
 * "stack"; `scale`: "linear", "log" or "share"; `format`: value to text; `height` in pixels.
 */
export class Plot {
  constructor(figure, options) {
    this.figure = figure;
    this.options = { kind: "lines", scale: "linear", height: 190, ...options };
    this.rows = [];
    this.from = 0;
    this.to = 1;
    this.when = make("span", { class: "when" });
    this.values = new Map();
    this.items = new Map();
    const legend = make("div", { class: "legend" });
    for (const one of this.options.lines) {
      const value = make("b", {});
      const item = make(
        "span",
        { class: `key c-${one.colour}${one.thin ? " thin" : ""}` },
        make("i", {}),
        `${one.label} `,
        value,
      );
      this.values.set(one.name, value);
      this.items.set(one.name, item);
      legend.append(item);
    }
    this.svg = draw("svg", { role: "img", tabindex: "0" });
    this.empty = make("p", { class: "nothing" }, "No samples yet");
    figure.append(
      make(
        "figcaption",
        {},
        make("span", { class: "title" }, this.options.title),
        this.options.hint ? make("span", { class: "hint" }, this.options.hint) : "",
        this.when,
      ),
      legend,
      this.svg,
      this.empty,
    );
    this.svg.addEventListener("pointermove", (event) => this.follow(event));
    this.svg.addEventListener("pointerdown", (event) => this.follow(event));
    this.svg.addEventListener("pointerleave", () => point(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    this.svg.addEventListener("blur", () => point(null));
    new ResizeObserver(() => this.paint()).observe(figure);
    plots.add(this);
  }

  /** Show `rows` ({ time, name: value or null, … }, in order) from time to time, Unix seconds. */
  update(rows, from, to) {
    this.rows = rows;
    this.from = from;
    this.to = to;
    this.paint();
  }

  follow(event) {
    const box = this.svg.getBoundingClientRect();
    const inner = box.width - MARGIN.left - MARGIN.right;
    const part = (event.clientX - box.left - MARGIN.left) / inner;
    point(this.from + Math.min(1, Math.max(0, part)) * (this.to - this.from));
  }

  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") point(null);
    if (by === undefined || this.rows.length === 0) return;
    event.preventDefault();
    const at = cursor === null ? this.rows.length : this.rows.indexOf(this.nearest());
    point(this.rows[Math.min(this.rows.length - 1, Math.max(0, at + by))].time);
  }

  nearest() {
    let best = null;
    for (const row of this.rows) {
      if (best === null || Math.abs(row.time - cursor) < Math.abs(best.time - cursor)) best = row;
    }
    return best;
  }

  /** Bounds of the y axis, its ticks, and value -> 0..1. */
  axis() {
    const { lines, kind, scale } = this.options;
    if (scale === "share") {
      return { ticks: [0, 0.25, 0.5, 0.75, 1], place: (value) => value };
    }
    const all = [];
    for (const row of this.rows) {
      if (kind === "stack") all.push(lines.reduce((sum, one) => sum + (row[one.name] ?? 0), 0));
      else for (const one of lines) if (row[one.name] > 0) all.push(row[one.name]);
    }
    if (scale === "log") {
      const low = Math.floor(Math.log10(Math.min(...all, 1e-4)) + 0.1);
      const high = Math.max(Math.ceil(Math.log10(Math.max(...all, 1e-4)) - 0.05), low + 2);
      return {
        ticks: logTicks(low, high),
        place: (value) => (Math.log10(Math.max(value, 1e-9)) - low) / (high - low),
      };
    }
    const ticks = linearTicks(Math.max(...all, 1));
    const top = ticks[ticks.length - 1];
    return { ticks, place: (value) => value / top };
  }

  /** Whether a row is followed by a hole: Howdah was not there. */
  broken(at) {
    const next = this.rows[at + 1];
    return next !== undefined && next.time - this.rows[at].time > 2.5 * next.width;
  }

  paint() {
    const width = this.figure.clientWidth - this.padding();
    if (width <= 0) return;
    const { height, lines, kind, format } = this.options;
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const { ticks, place } = this.axis();
    const x = (time) =>
      MARGIN.left + ((time - this.from) / (this.to - this.from)) * (right - MARGIN.left);
    const y = (value) => bottom - Math.min(1, Math.max(0, place(value))) * (bottom - MARGIN.top);
    const found = [];
    for (const tick of ticks) {
      const at = near(y(tick));
      found.push(draw("line", { class: "grid", x1: MARGIN.left, x2: right, y1: at, y2: at }));
      const label = draw("text", {
        class: "tick",
        x: MARGIN.left - 8,
        y: at + 4,
        "text-anchor": "end",
      });
      label.textContent = short(format(tick));
      found.push(label);
    }
    found.push(...this.times(x, bottom, right));
    const traced = (value) => {
      const points = [];
      this.rows.forEach((row, at) => {
        const here = value(row);
        points.push(here === null || here === undefined ? null : [x(row.time), y(here)]);
        if (this.broken(at)) points.push(null);
      });
      return points;
    };
    if (kind === "stack") found.push(...this.stacked(traced, lines));
    else found.push(...this.lined(traced, lines, bottom));
    this.rule = draw("line", { class: "cursor", y1: MARGIN.top, y2: bottom, visibility: "hidden" });
    found.push(this.rule);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("height", height);
    this.svg.replaceChildren(...found);
    this.empty.hidden = this.rows.length > 0;
    this.x = x;
    this.readOut();
  }

  padding() {
    const style = getComputedStyle(this.figure);
    return parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
  }

  times(x, bottom, right) {
    const span = this.to - this.from;
    const room = (right - MARGIN.left) / 84;
    const step = [15, 30, 60, 120, 300, 600, 900].find((seconds) => span / seconds <= room) ?? 1800;
    const found = [];
    for (let time = Math.ceil(this.from / step) * step; time <= this.to; time += step) {
      const at = near(x(time));
      found.push(draw("line", { class: "mark", x1: at, x2: at, y1: bottom, y2: bottom + 4 }));
      if (at < MARGIN.left + 14 || at > right - 14) continue;
      const label = draw("text", { class: "tick", x: at, y: bottom + 17, "text-anchor": "middle" });
      label.textContent = clock(time, step < 60);
      found.push(label);
    }
    return found;
  }

  stacked(traced, lines) {
    const found = [];
    const sum = (row, upTo) =>
      lines.slice(0, upTo).reduce((total, one) => total + (row[one.name] ?? 0), 0);
    let below = traced(() => 0);
    lines.forEach((one, at) => {
      const above = traced((row) => sum(row, at + 1));
      found.push(draw("path", { class: `layer c-${one.colour}`, d: area(above, below) }));
      below = above;
    });
    return found;
  }

  lined(traced, lines, bottom) {
    const bands = [];
    const drawn = [];
    for (const one of lines) {
      const points = traced((row) => row[one.name]);
      if (one.band) {
        const other = traced((row) => row[one.band]);
        bands.push(draw("path", { class: `band c-${one.colour}`, d: area(other, points) }));
      }
      if (one.fill) {
        const ground = points.map((at) => (at === null ? null : [at[0], bottom]));
        bands.push(draw("path", { class: `band c-${one.colour}`, d: area(points, ground) }));
      }
      const thin = one.thin ? " thin" : "";
      drawn.push(draw("path", { class: `line c-${one.colour}${thin}`, d: line(points) }));
    }
    return [...bands, ...drawn];
  }

  /** The values at the cursor, or the newest ones, in the legend. */
  readOut() {
    const { lines, format, title } = this.options;
    const pointed = cursor !== null && this.rows.length > 0;
    const row = pointed ? this.nearest() : this.rows[this.rows.length - 1];
    put(this.when, pointed ? clock(row.time) : "");
    const said = [];
    for (const one of lines) {
      const value = row === undefined ? null : (row[one.name] ?? null);
      put(this.values.get(one.name), format(value));
      if (one.hidden) {
        this.items.get(one.name).hidden = !this.rows.some((each) => each[one.name] > 0);
      }
      said.push(`${one.label} ${format(value)}`);
    }
    if (!pointed) this.svg.setAttribute("aria-label", `${title}, now: ${said.join(", ")}`);
    if (this.rule === undefined) return;
    this.rule.setAttribute("visibility", pointed ? "visible" : "hidden");
    if (pointed) {
      const at = near(this.x(row.time));
      this.rule.setAttribute("x1", at);
      this.rule.setAttribute("x2", at);
    }
  }
}

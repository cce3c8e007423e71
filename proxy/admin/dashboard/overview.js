// The first section: tiles, plots, what saves and what costs most, why not from memory.

import * as api from "./api.js";
import {
  bytes,
  count,
  duration,
  exact,
  make,
  NONE,
  outcome,
  percent,
  put,
  rate,
  sentence,
  words,
} from "./format.js";
import { Plot, sparkline } from "./plots.js";

const byId = (id) => document.getElementById(id);
const MEMORY = ["hit", "shared", "stale"];
const READS = [...MEMORY, "miss", "bypass"];
const ALL = [...READS, "write", "other"];
const SPARK = 300; // seconds in a sparkline
const TOP = 6;

const samples = []; // of the last half hour, oldest first
let step = 2;
let minutes = 5;
let plots = null;
let tiles = null;

const total = (rows, names) =>
  rows.reduce((sum, row) => sum + names.reduce((part, name) => part + row[name], 0), 0);
const sumOf = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0);

/** A share of reads, or null where there were none. */
function share(rows) {
  const reads = total(rows, READS);
  return reads ? total(rows, MEMORY) / reads : null;
}

/** The mean of a quantile over steps, each as heavy as the statements that it is of. */
function middle(rows, name, outcomes) {
  let weight = 0;
  let sum = 0;
  for (const row of rows) {
    if (row[name] === null) continue;
    const calls = outcomes.reduce((part, each) => part + row[each], 0);
    weight += calls;
    sum += row[name] * calls;
  }
  return weight ? sum / weight : null;
}

function worst(rows, name) {
  const known = rows.map((row) => row[name]).filter((value) => value !== null);
  return known.length ? Math.max(...known) : null;
}

/** Samples in groups of `width` seconds, whose borders do not move as time goes on. */
function grouped(rows, width) {
  const groups = new Map();
  for (const row of rows) {
    const place = Math.floor(row.time / width);
    if (groups.has(place)) groups.get(place).push(row);
    else groups.set(place, [row]);
  }
  return [...groups.values()].map((group) => {
    const seconds = sumOf(group, "seconds") || 1;
    const made = { time: group[group.length - 1].time, width, share: share(group) };
    for (const name of ALL) made[name] = sumOf(group, name) / seconds;
    made.hit_p50 = middle(group, "hit_p50", ["hit"]);
    made.hit_p99 = worst(group, "hit_p99");
    made.upstream_p50 = middle(group, "upstream_p50", ["miss", "bypass"]);
    made.upstream_p99 = worst(group, "upstream_p99");
    made.saved = sumOf(group, "saved") / seconds;
    made.evicted = sumOf(group, "evicted") / seconds;
    const last = group[group.length - 1];
    for (const name of ["cache_bytes", "entries", "clients", "upstreams"]) made[name] = last[name];
    return made;
  });
}

function makePlots() {
  const seconds = (value) => duration(value);
  return [
    new Plot(byId("plot-share"), {
      title: "Reads answered from memory",
      scale: "share",
      height: 150,
      format: (value) => (value === null ? NONE : percent(value)),
      lines: [{ name: "share", label: "share", colour: "hit", fill: true }],
    }),
    new Plot(byId("plot-latency"), {
      title: "Latency of reads",
      hint: "median, and 99 of 100",
      scale: "log",
      height: 220,
      format: seconds,
      lines: [
        { name: "hit_p50", label: "hit p50", colour: "hit", band: "hit_p99" },
        { name: "hit_p99", label: "p99", colour: "hit", thin: true },
        { name: "upstream_p50", label: "PostgreSQL p50", colour: "miss", band: "upstream_p99" },
        { name: "upstream_p99", label: "p99", colour: "miss", thin: true },
      ],
    }),
    new Plot(byId("plot-throughput"), {
      title: "Statements per second",
      hint: "by outcome",
      kind: "stack",
      height: 220,
      format: (value) =>
        value !== null && value > 0 && value < 10
          ? String(Math.round(value * 10) / 10)
          : count(value),
      lines: [
        { name: "hit", label: "hit", colour: "hit" },
        { name: "shared", label: "shared", colour: "shared", hidden: true },
        { name: "stale", label: "stale", colour: "stale", hidden: true },
        { name: "miss", label: "miss", colour: "miss" },
        { name: "bypass", label: "bypass", colour: "bypass" },
        { name: "write", label: "write", colour: "write" },
        { name: "other", label: "other", colour: "other" },
      ],
    }),
  ];
}

const TILES = [
  [
    "share",
    "From memory",
    "hit",
    "Share of reads that did not need PostgreSQL, in the last minute",
  ],
  ["rate", "Statements", "plain", "Of all kinds, in the last ten seconds"],
  ["hit", "Hit", "hit", "Median latency of answers from memory, in the last minute"],
  [
    "upstream",
    "PostgreSQL",
    "miss",
    "Median latency of reads that PostgreSQL answered, in the last minute",
  ],
  [
    "saved",
    "Work spared",
    "hit",
    "Seconds that PostgreSQL would have worked, in each second of the last minute",
  ],
  ["cache", "Cache", "plain", "Stored answers, keys and bookkeeping included"],
  ["evicted", "Evictions", "bypass", "Entries dropped, in the last minute"],
  ["clients", "Clients", "plain", "Client connections"],
];

function makeTiles() {
  const made = {};
  for (const [name, label, colour, title] of TILES) {
    const value = make("strong", {}, NONE);
    const under = make("small", {}, " ");
    const spark = make("div", { class: `spark c-${colour}` });
    byId("tiles").append(
      make(
        "div",
        { class: "card tile", title },
        make("span", { class: "label" }, label),
        value,
        under,
        spark,
      ),
    );
    made[name] = (text, small, values, bounds) => {
      put(value, text);
      put(under, small);
      sparkline(spark, values, bounds);
    };
  }
  return made;
}

/** The newest samples that lie within `seconds` of the last one. */
function within(seconds) {
  if (samples.length === 0) return [];
  const from = samples[samples.length - 1].time - seconds;
  return samples.filter((row) => row.time > from);
}

function drawTiles(state) {
  const minute = within(60);
  const now = within(10);
  const small = grouped(within(SPARK), 6);
  const line = (name) => small.map((row) => row[name]);
  const counts = state.outcomes ?? {};
  const sum = (names) => names.reduce((part, name) => part + (counts[name] ?? 0), 0);
  const ever = sum(READS) ? sum(MEMORY) / sum(READS) : null;
  tiles.share(percent(share(minute)), `${percent(ever)} since the start`, line("share"), {
    most: 1,
  });
  tiles.rate(
    rate(now.length ? total(now, ALL) / sumOf(now, "seconds") : null),
    `${count(sum(ALL))} since the start`,
    small.map((row) => ALL.reduce((part, name) => part + row[name], 0)),
  );
  tiles.hit(
    duration(middle(minute, "hit_p50", ["hit"])),
    `p99 ${duration(middle(minute, "hit_p99", ["hit"]))}`,
    line("hit_p50"),
  );
  tiles.upstream(
    duration(middle(minute, "upstream_p50", ["miss", "bypass"])),
    `p99 ${duration(middle(minute, "upstream_p99", ["miss", "bypass"]))}`,
    line("upstream_p50"),
  );
  const spared = minute.length ? sumOf(minute, "saved") / sumOf(minute, "seconds") : null;
  tiles.saved(
    spared === null ? NONE : `${duration(spared)}/s`,
    spared === null ? " " : "of PostgreSQL's time",
    line("saved"),
  );
  tiles.cache(
    bytes(state.cache_bytes),
    `${percent(state.cache_bytes / state.capacity)} · ${count(state.entries)} entries`,
    line("cache_bytes"),
  );
  const causes = Object.entries(state.evictions ?? {}).sort((a, b) => b[1] - a[1]);
  tiles.evicted(
    rate(minute.length ? sumOf(minute, "evicted") / sumOf(minute, "seconds") : null),
    causes.length && causes[0][1] ? `mostly by ${words(causes[0][0])}` : "none so far",
    line("evicted"),
  );
  tiles.clients(exact(state.clients), `${exact(state.upstreams)} to PostgreSQL`, line("clients"));
}

function drawPlots(now) {
  const first = samples.length ? samples[0].time : now;
  // As much as there is, in round steps: a new Howdah does not start with an empty picture.
  const span = [1, 2, 5, 15, 30].find((each) => each >= minutes || now - first < each * 60) * 60;
  const width = Math.max(step, step * Math.round(span / 150 / step));
  const rows = grouped(
    samples.filter((row) => row.time > now - span - width),
    width,
  ).filter((row) => row.time > now - span);
  for (const plot of plots) plot.update(rows, now - span, now);
}

function ranking(list, rows, name, said) {
  const most = Math.max(...rows.map((row) => row[name] ?? 0), 0);
  const shown = rows.filter((row) => row[name] > 0);
  const items = shown.map((row, at) => {
    let item = list.children[at];
    if (item === undefined || item.dataset.id !== row.id) {
      item = make(
        "li",
        { "data-id": row.id },
        make("a", { href: `#/statements/${name}/${row.id}` }, make("code"), make("b")),
        make(
          "span",
          { class: "track" },
          make("span", { class: `bar c-${name === "saved_seconds" ? "hit" : "miss"}` }),
        ),
        make("small"),
      );
    }
    const [link, track, under] = item.children;
    put(link.children[0], row.query);
    link.title = row.query;
    put(link.children[1], duration(row[name]));
    track.firstElementChild.style.width = `${Math.max(0.6, (row[name] / most) * 100)}%`;
    put(under, said(row));
    return item;
  });
  if (items.length === 0) list.replaceChildren(make("li", { class: "nothing" }, "Nothing yet"));
  else if (
    items.length !== list.children.length ||
    items.some((item, at) => list.children[at] !== item)
  ) {
    list.replaceChildren(...items);
  }
}

const seen = []; // [time, counts of reasons] of the last polls, for rates
let reasonsDrawn = "";

function drawReasons(state) {
  const reasons = (state.reasons ?? []).filter(
    (row) => row.reason && !MEMORY.includes(row.outcome),
  );
  const keyOf = (row) => `${row.outcome}/${row.reason}`;
  seen.push([state.now, new Map(reasons.map((row) => [keyOf(row), row.count]))]);
  while (seen.length > 8) seen.shift();
  const [then, before] = seen[0];
  const speed = (row) =>
    seen.length > 1 && state.now > then
      ? (row.count - (before.get(keyOf(row)) ?? 0)) / (state.now - then)
      : null;
  const reads = reasons
    .filter((row) => READS.includes(row.outcome))
    .sort((a, b) => b.count - a.count);
  const rest = reasons
    .filter((row) => !READS.includes(row.outcome))
    .sort((a, b) => b.count - a.count);
  const holder = byId("reasons");
  const signature = [...reads, null, ...rest].map((row) => (row ? keyOf(row) : "|")).join(" ");
  if (signature !== reasonsDrawn) {
    reasonsDrawn = signature;
    const open = holder.querySelector("details")?.open ?? false;
    const list = (rows) => make("div", { class: "reasons" }, ...rows.map(reasonRow));
    holder.replaceChildren(
      reads.length ? list(reads) : make("p", { class: "nothing" }, "Every read came from memory"),
      rest.length
        ? make("details", { open }, make("summary", {}, "Writes and commands"), list(rest))
        : "",
    );
  }
  const most = Math.max(...reads.map((row) => row.count), 0);
  for (const row of [...reads, ...rest]) {
    const item = holder.querySelector(`[data-reason="${keyOf(row)}"]`);
    const now = speed(row);
    put(item.querySelector(".total"), count(row.count));
    put(item.querySelector(".speed"), now > 0 ? rate(now) : "");
    const bar = item.querySelector(".bar");
    bar.style.width = `${most ? Math.min(100, Math.max(0.6, (row.count / most) * 100)) : 0}%`;
  }
}

function reasonRow(row) {
  const nothing = row.advice.startsWith("nothing to do");
  return make(
    "div",
    { class: "reason", "data-reason": `${row.outcome}/${row.reason}` },
    make("div", { class: "name" }, outcome(row.outcome), make("code", {}, row.reason)),
    make(
      "p",
      {},
      sentence(row.meaning),
      make("span", { class: nothing ? "advice mild" : "advice" }, sentence(row.advice)),
    ),
    make("span", { class: "speed" }),
    make("b", { class: "total" }),
    make("span", { class: "track" }, make("span", { class: `bar c-${row.outcome}` })),
  );
}

function chooseSpan(chosen) {
  minutes = chosen;
  for (const button of byId("span").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.minutes) === chosen));
  }
}

export const overview = {
  shown() {
    if (plots !== null) return;
    tiles = makeTiles();
    plots = makePlots();
    chooseSpan(minutes);
    byId("span").addEventListener("click", (event) => {
      const chosen = Number(event.target.dataset.minutes);
      if (!chosen) return;
      chooseSpan(chosen);
      if (samples.length) drawPlots(samples[samples.length - 1].time);
    });
  },

  load() {
    const since = samples.length ? samples[samples.length - 1].time : 0;
    const top = (name) => api.show("queries", { order_by: `${name} DESC`, limit: TOP });
    return Promise.all([api.series(since), top("saved_seconds"), top("spent_seconds")]);
  },

  draw([series, saved, spent], state) {
    step = series.step;
    const newest = samples.length ? samples[samples.length - 1].time : 0;
    // Time that goes back: the clock was set, or this is another Howdah.
    if (series.samples.length && series.samples[0].time <= newest) samples.length = 0;
    samples.push(...series.samples);
    while (samples.length && samples[0].time < series.now - 1900) samples.shift();
    drawTiles(state);
    drawPlots(series.now);
    ranking(
      byId("top-saved"),
      saved,
      "saved_seconds",
      (row) =>
        `${count(row.hits)} of ${count(row.calls)} calls from memory, ` +
        `${duration(row.saved_seconds / row.hits)} saved each`,
    );
    ranking(
      byId("top-spent"),
      spent,
      "spent_seconds",
      (row) =>
        `${count(row.calls - row.hits - row.shared - row.stale)} of ${count(row.calls)} calls, ` +
        `${duration(row.miss_mean_seconds)} each${row.reason ? `, ${row.reason}` : ""}`,
    );
    drawReasons(state);
    // Just after the next sample: what is shown is as new as it can be.
    const due = samples.length ? samples[samples.length - 1].time + step - series.now : step;
    return Math.max(500, Math.min(step, due + 0.1) * 1000);
  },
};

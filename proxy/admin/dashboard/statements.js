// The section of statements: a table by shape, filtered and sorted by Howdah, with details.

import * as api from "./api.js";
import {
  age,
  bytes,
  count,
  duration,
  exact,
  make,
  NONE,
  outcome,
  percent,
  put,
  sentence,
} from "./format.js";
import { Table } from "./tables.js";

const byId = (id) => document.getElementById(id);
const LIMIT = 100;
const MEMORY = ["hits", "shared", "stale"];
const COUNTS = [
  ["hits", "hit"],
  ["shared", "shared"],
  ["stale", "stale"],
  ["misses", "miss"],
  ["bypassed", "bypass"],
  ["writes", "write"],
];

let table = null;
let refresh = () => {};
let reasons = new Map(); // name -> { meaning, advice }
let wanted = null; // id of the statement that a link has named

const fromMemory = (row) => MEMORY.reduce((sum, name) => sum + row[name], 0);
const shareOf = (row) => (row.calls ? fromMemory(row) / row.calls : null);

/** Set the content of a cell only if what it shows has changed. */
function once(cell, signature, build) {
  if (cell.dataset.shows === signature) return;
  cell.dataset.shows = signature;
  cell.replaceChildren(...build());
}

const COLUMNS = [
  {
    name: "query",
    label: "Statement",
    main: true,
    fill: (cell, row) =>
      once(cell, `${row.query} ${row.outcome} ${row.reason} ${row.quarantined}`, () => [
        make("code", { class: "sql" }, row.query),
        make(
          "small",
          {},
          row.quarantined ? outcome("quarantined") : "",
          outcome(row.outcome),
          row.reason ? make("span", { class: "why" }, row.reason) : "",
          make("span", { class: "where" }, row.database),
        ),
      ]),
  },
  { name: "calls", label: "Calls", number: true, show: (row) => count(row.calls) },
  {
    name: "hits",
    label: "From memory",
    title: "Share of the calls; sorted by their number",
    number: true,
    show: (row) => percent(shareOf(row)),
  },
  {
    name: "hit_p50_seconds",
    label: "Hit",
    title: "Median latency of answers from memory",
    number: true,
    show: (row) => duration(row.hit_p50_seconds),
  },
  {
    name: "miss_p50_seconds",
    label: "PostgreSQL",
    title: "Median latency of calls that reached PostgreSQL",
    number: true,
    show: (row) => duration(row.miss_p50_seconds),
  },
  {
    name: "saved_seconds",
    label: "Saved",
    title: "Time that PostgreSQL would have taken for what came from memory",
    number: true,
    show: (row) => duration(row.saved_seconds),
  },
  {
    name: "spent_seconds",
    label: "Spent",
    title: "Time that calls waited for PostgreSQL",
    number: true,
    show: (row) => duration(row.spent_seconds),
  },
  {
    name: "evicted",
    label: "Evicted",
    title: "Entries that were dropped",
    number: true,
    wide: true,
    show: (row) => count(row.evicted),
  },
  {
    name: "entries",
    label: "Entries",
    title: "Stored answers now",
    number: true,
    wide: true,
    show: (row) => count(row.entries),
  },
];

function detail(row) {
  const facts = new Map();
  const fact = (label, wide) => {
    const value = make("dd", {});
    facts.set(label, value);
    return make("div", { class: wide ? "wide" : null }, make("dt", {}, label), value);
  };
  const calls = make("div", { class: "split", role: "img" });
  const legend = make("div", { class: "legend" });
  const advice = make("p", { class: "notice plain" });
  const latency = ["mean", "p50", "p99"].map((name) => ({
    name,
    hit: make("td"),
    miss: make("td"),
  }));
  const element = make(
    "div",
    { class: "detail" },
    make("pre", {}, make("code", {}, row.query)),
    advice,
    make("div", { class: "calls" }, calls, legend),
    make(
      "div",
      { class: "facts" },
      make(
        "table",
        { class: "small" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            make("th", {}, "Latency"),
            ...latency.map((each) => make("th", {}, each.name)),
          ),
        ),
        make(
          "tbody",
          {},
          make(
            "tr",
            {},
            make("th", { scope: "row" }, "from memory"),
            ...latency.map((each) => each.hit),
          ),
          make(
            "tr",
            {},
            make("th", { scope: "row" }, "PostgreSQL"),
            ...latency.map((each) => each.miss),
          ),
        ),
      ),
      make(
        "dl",
        {},
        ...["Rows", "Bytes", "Errors", "Entries", "Evicted", "Last call"].map((label) =>
          fact(label),
        ),
      ),
      make(
        "dl",
        {},
        ...["Relations", "Roles", "Rule", "Fingerprint"].map((label) => fact(label, true)),
      ),
    ),
    make(
      "p",
      { class: "actions" },
      make(
        "a",
        { class: "strong", href: `#/explain/${encodeURIComponent(JSON.stringify(question(row)))}` },
        "Explain this statement",
      ),
    ),
  );
  const update = (now) => {
    const parts = COUNTS.map(([name, kind]) => [kind, now[name]]).filter(([, calls]) => calls > 0);
    const rest = now.calls - parts.reduce((sum, [, calls]) => sum + calls, 0);
    if (rest > 0) parts.push(["other", rest]);
    const signature = JSON.stringify(parts);
    if (calls.dataset.shows !== signature) {
      calls.dataset.shows = signature;
      calls.setAttribute("aria-label", parts.map(([kind, calls]) => `${kind} ${calls}`).join(", "));
      calls.replaceChildren(
        ...parts.map(([kind, calls]) => {
          const part = make("span", { class: `bar c-${kind}` });
          part.style.flexGrow = String(calls);
          return part;
        }),
      );
      legend.replaceChildren(
        ...parts.map(([kind, calls]) =>
          make(
            "span",
            { class: `key c-${kind}` },
            make("i"),
            `${kind} `,
            make("b", {}, exact(calls)),
          ),
        ),
      );
    }
    for (const each of latency) {
      put(each.hit, duration(now[`hit_${each.name}_seconds`]));
      put(each.miss, duration(now[`miss_${each.name}_seconds`]));
    }
    put(facts.get("Rows"), exact(now.rows));
    put(facts.get("Bytes"), bytes(now.bytes));
    put(facts.get("Errors"), exact(now.errors));
    put(facts.get("Entries"), exact(now.entries));
    put(facts.get("Evicted"), exact(now.evicted));
    put(facts.get("Last call"), now.last_seconds === null ? NONE : `${age(now.last_seconds)} ago`);
    put(facts.get("Relations"), now.relations || NONE);
    put(facts.get("Roles"), now.roles || NONE);
    put(facts.get("Rule"), now.rule || NONE);
    put(facts.get("Fingerprint"), now.id);
    const reason = reasons.get(now.reason);
    advice.hidden = !now.reason || !reason;
    if (!advice.hidden) put(advice, `${now.reason}: ${reason.meaning}. ${sentence(reason.advice)}`);
  };
  return { element, update };
}

function question(row) {
  return { sql: row.query, database: row.database, role: (row.roles || "").split(",")[0].trim() };
}

const keyOf = (row) => `${row.database} ${row.id}`;

function wait() {
  let timer = null;
  return (action) => {
    clearTimeout(timer);
    timer = setTimeout(action, 250);
  };
}

export const statements = {
  shown(argument, ask) {
    refresh = ask;
    const [sort, id] = argument.split("/");
    if (table === null) {
      table = new Table(byId("statements-table"), {
        caption: "Statements by shape",
        columns: COLUMNS,
        key: keyOf,
        sort: { name: "saved_seconds", down: true },
        detail,
        onsort: () => refresh(),
        empty: "No statement fits",
      });
      const later = wait();
      byId("statements-text").addEventListener("input", () => later(() => refresh()));
      byId("statements-outcome").addEventListener("change", () => refresh());
    }
    if (COLUMNS.some((column) => column.name === sort)) {
      table.sort = { name: sort, down: true };
      table.mark();
    }
    if (id) {
      wanted = id;
      byId("statements-text").value = byId("statements-outcome").value = "";
    }
  },

  load() {
    const conditions = [];
    const text = byId("statements-text").value.trim();
    const kind = byId("statements-outcome").value;
    if (text) conditions.push(api.contains("query", text));
    if (kind) conditions.push(`outcome = '${kind}'`);
    const { name, down } = table.sort;
    const clauses = { order_by: `${name}${down ? " DESC" : ""} NULLS LAST`, limit: LIMIT };
    if (conditions.length) clauses.where = conditions.join(" AND ");
    return Promise.all([api.show("queries", clauses), reasons.size ? null : api.show("reasons")]);
  },

  draw([rows, explained]) {
    if (explained !== null) reasons = new Map(explained.map((row) => [row.reason, row]));
    const named = wanted && rows.find((row) => row.id === wanted);
    if (named) table.opened.add(keyOf(named));
    table.update(rows);
    if (named) table.lines.get(keyOf(named)).line.scrollIntoView({ block: "start" });
    wanted = null;
    put(
      byId("statements-count"),
      rows.length < LIMIT ? `${rows.length} shown` : `the first ${LIMIT}`,
    );
  },
};

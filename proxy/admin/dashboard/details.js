// The sections of tables, connections and setup: views of Howdah as sortable tables.

import * as api from "./api.js";
import {
  age,
  clock,
  count,
  duration,
  exact,
  make,
  NONE,
  percent,
  put,
  rate,
  sentence,
  words,
} from "./format.js";
import { bars, Table } from "./tables.js";

const byId = (id) => document.getElementById(id);

/** Columns in short: `text(name, label)`, `number(name, label, show)`. */
const text = (name, label, more = {}) => ({
  name,
  label,
  show: (row) => row[name] || NONE,
  ...more,
});
const number = (name, label, show = exact, more = {}) => ({
  name,
  label,
  number: true,
  show: (row) => show(row[name]),
  ...more,
});
/** A cell of SQL, at most two lines of it; all of it is its title. */
const sql = (name) => (cell, row) => {
  if (cell.childElementCount === 0) cell.append(make("code", { class: "sql" }));
  put(cell.firstElementChild, row[name] || NONE);
  cell.title = row[name] ?? "";
};
const ago = (value) => (value === null ? NONE : `${age(value)} ago`);

/** Makes a table at its first use, and counts its rows beside the title. */
function lazy(id, options, counter, noun) {
  let table = null;
  return (rows) => {
    table ??= new Table(byId(id), options);
    table.update(rows);
    if (counter) put(byId(counter), `${exact(rows.length)} ${noun}`);
  };
}

// --- tables --------------------------------------------------------------------------

const history = []; // [time, evicted by table] of the last polls
const speeds = new Map();

/** Evictions per second of each table since a quarter of a minute ago. */
function measure(rows, now) {
  history.push([now, new Map(rows.map((row) => [nameOf(row), row.evicted]))]);
  while (history.length > 8) history.shift();
  const [then, before] = history[0];
  for (const row of rows) {
    const gained = row.evicted - (before.get(nameOf(row)) ?? 0);
    speeds.set(nameOf(row), now > then && gained >= 0 ? gained / (now - then) : null);
  }
}

const nameOf = (row) => `${row.database} ${row.name}`;

const drawTables = lazy(
  "tables-table",
  {
    caption: "Tables",
    key: nameOf,
    sort: { name: "evicted", down: true },
    empty: "No table has been read or written yet",
    columns: [
      text("name", "Table", {
        main: true,
        fill: (cell, row) => {
          if (cell.childElementCount === 0)
            cell.append(make("code"), make("small", {}, make("span", { class: "where" })));
          put(cell.children[0], row.name === "*" ? "every table" : row.name);
          put(
            cell.children[1].firstElementChild,
            row.database === "*" ? "every database" : row.database,
          );
        },
      }),
      number("entries", "Entries", count, { title: "Stored answers that read it" }),
      number("queries", "Statements", count, { title: "Shapes that read it" }),
      number("writes", "Writes", count),
      number("evicted", "Evicted", count, { title: "Entries that its writes have dropped" }),
      number(
        "evicted_per_write",
        "Per write",
        (value) => (value === null ? NONE : value.toFixed(1)),
        {
          title: "Entries dropped by each write",
        },
      ),
      {
        name: "speed",
        label: "Now",
        title: "Entries dropped per second, in the last quarter of a minute",
        number: true,
        value: (row) => speeds.get(nameOf(row)),
        show: (row) => (speeds.get(nameOf(row)) ? rate(speeds.get(nameOf(row))) : NONE),
      },
      number("last_write_seconds", "Last write", ago),
      text("last_writer", "Last writer", {
        text: true,
        wide: true,
        fixed: true,
        fill: sql("last_writer"),
      }),
      number("fences", "Fences", (value) => (value ? exact(value) : NONE), {
        title: "Fences over it that are up",
      }),
    ],
  },
  "tables-count",
  "known",
);

const drawFences = lazy("fences-table", {
  caption: "Fences that are up",
  key: (row) => `${row.cause} ${row.owner} ${row.database} ${row.tables} ${row.statement}`,
  sort: { name: "age_seconds", down: true },
  empty: "No fence is up",
  columns: [
    text("cause", "Cause", { show: (row) => words(row.cause) }),
    number("age_seconds", "For", duration),
    text("owner", "Owner"),
    text("database", "Database"),
    text("tables", "Tables"),
    text("statement", "Statement", { main: true, fill: sql("statement") }),
  ],
});

function byCause(id, counts, empty) {
  const rows = Object.entries(counts ?? {})
    .filter(([, value]) => value > 0)
    .sort((a, b) => b[1] - a[1]);
  bars(
    byId(id),
    rows.map(([name, value]) => [words(name), value, exact(value)]),
    empty,
  );
}

export const tables = {
  load: () => Promise.all([api.show("tables", { limit: 500 }), api.show("fences")]),
  draw([rows, fences], state) {
    measure(rows, state.now);
    drawTables(rows);
    drawFences(fences);
    byCause("evictions", state.evictions, "Nothing was evicted");
    byCause("rejected", state.rejected, "Everything that was offered was stored");
  },
};

// --- connections ---------------------------------------------------------------------

const drawClients = lazy(
  "clients-table",
  {
    caption: "Clients",
    key: (row) => row.id,
    sort: { name: "statements", down: true },
    empty: "No client is connected",
    columns: [
      text("application_name", "Client", {
        main: true,
        fill: (cell, row) => {
          if (cell.childElementCount === 0)
            cell.append(make("b"), make("small", {}, make("span", { class: "where" })));
          put(cell.children[0], row.application_name || "no name");
          put(
            cell.children[1].firstElementChild,
            [row.address, `#${row.id}`].filter(Boolean).join("  "),
          );
        },
      }),
      text("database", "Database"),
      text("role", "Role"),
      text("state", "State"),
      text("transaction", "Transaction"),
      number("statements", "Statements", count),
      {
        name: "hits",
        label: "Hits",
        title: "Share of its statements; sorted by their number",
        number: true,
        show: (row) => (row.statements ? percent(row.hits / row.statements) : NONE),
      },
      number("connected_seconds", "Connected", age, { wide: true }),
      number("backend_pid", "Backend", (value) => (value ? String(value) : NONE), {
        title: "Process of PostgreSQL; none while all came from memory",
        wide: true,
      }),
      text("why_not", "Not from memory", {
        title: "Why nothing of it is answered from memory now",
        full: true,
      }),
    ],
  },
  "clients-count",
  "connected",
);

const drawUpstreams = lazy(
  "upstreams-table",
  {
    caption: "Connections to PostgreSQL",
    key: (row) => `${row.kind} ${row.backend_pid} ${row.client} ${row.purpose}`,
    sort: { name: "backend_pid", down: false },
    empty: "No connection is open",
    columns: [
      number("backend_pid", "Backend", (value) => (value ? String(value) : NONE)),
      text("kind", "Kind"),
      text("database", "Database"),
      text("role", "Role"),
      text("state", "State"),
      { ...number("client", "Client", (value) => (value ? `#${value}` : NONE)) },
      text("purpose", "Purpose", { main: true }),
    ],
  },
  "upstreams-count",
  "open",
);

export const connections = {
  load: () =>
    Promise.all([
      api.show("clients", { order_by: "statements DESC", limit: 300 }),
      api.show("upstreams", { limit: 300 }),
    ]),
  draw([clients, upstreams], state) {
    drawClients(clients);
    drawUpstreams(upstreams);
    put(byId("clients-count"), said(clients.length, state.clients, "connected"));
  },
};

const said = (shown, all, word) =>
  shown < all ? `${exact(shown)} of ${exact(all)} shown` : `${exact(shown)} ${word}`;

// --- setup ---------------------------------------------------------------------------

const drawDatabases = lazy("databases-table", {
  caption: "Databases in use",
  key: (row) => row.name,
  sort: { name: "entries", down: true },
  empty: "No database is in use yet",
  columns: [
    text("name", "Database", { main: true, fill: (cell, row) => code(cell, row.name) }),
    text("catalog", "Catalog"),
    { ...text("version", "Version"), show: (row) => String(row.version ?? NONE) },
    number("tables", "Tables", exact),
    number("contexts", "Contexts", exact, {
      title: "Different settings of sessions that are in use",
    }),
    number("entries", "Entries", count),
    text("problem", "Problem"),
  ],
});

const drawRules = lazy("rules-table", {
  caption: "Rules",
  key: (row) => row.number,
  sort: { name: "number", down: false },
  empty: "No rules: everything that is provably safe is cached",
  columns: [
    number("number", "No."),
    text("name", "Name"),
    number("priority", "Priority", (value) => String(value ?? NONE)),
    text("conditions", "If", {
      main: true,
      fill: (cell, row) => code(cell, row.conditions || "always"),
    }),
    text("effects", "Then", { fill: (cell, row) => code(cell, row.effects || NONE) }),
    number("queries", "Statements", count, { title: "Shapes that it decides" }),
  ],
});

const drawConfig = lazy("config-table", {
  caption: "Settings",
  key: (row) => row.name,
  sort: { name: "name", down: false },
  empty: "No settings",
  columns: [
    text("name", "Setting", { main: true, fill: (cell, row) => code(cell, row.name) }),
    text("value", "Value", {
      text: true,
      full: true,
      fill: (cell, row) => {
        code(cell, row.value ?? NONE);
        cell.classList.toggle("changed", row.value !== row.default);
      },
    }),
    text("default", "Default", { fill: (cell, row) => code(cell, row.default ?? NONE) }),
    text("source", "From", { tight: true }),
    text("reload", "Reload", { tight: true }),
  ],
});

function code(cell, value) {
  if (cell.childElementCount === 0) cell.append(make("code"));
  put(cell.firstElementChild, String(value));
}

function drawContract(rows) {
  const holder = byId("contract");
  if (holder.childElementCount !== rows.length) {
    holder.replaceChildren(
      ...rows.map(() => make("div", { class: "clause" }, make("span"), make("b"), make("p"))),
    );
  }
  rows.forEach((row, at) => {
    const [name, value, meaning] = holder.children[at].children;
    put(name, words(row.name));
    put(value, String(row.value ?? NONE));
    put(meaning, row.meaning ? sentence(row.meaning) : "");
  });
}

export const setup = {
  load: () =>
    Promise.all(["contract", "databases", "rules", "config"].map((view) => api.show(view))),
  draw([contract, databases, rules, config], state) {
    drawContract(contract);
    drawDatabases(databases);
    drawRules(rules);
    drawConfig(config);
    const file = state.config?.path;
    const loaded = state.config?.loaded_at ? `, loaded at ${clock(state.config.loaded_at)}` : "";
    put(byId("config-state"), file ? `${file}${loaded}` : "no configuration file");
  },
};

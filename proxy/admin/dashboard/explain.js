// The box that explains a pasted statement: its decision, and everything that led to it.

import * as api from "./api.js";
import { age, bytes, duration, exact, make, NONE, sentence, words } from "./format.js";

const byId = (id) => document.getElementById(id);
const DECISIONS = {
  hit: "It would be answered from memory.",
  stale: "It would be answered from memory, and fetched anew behind that.",
  miss: "PostgreSQL would answer, and the answer would be stored.",
  bypass: "PostgreSQL would answer, and nothing would be stored.",
  write: "PostgreSQL would run it, behind a fence over all that it can change.",
  other: "It would be forwarded; it neither reads nor writes tables.",
};
const SCOPES = { database: "everything in this database", cluster: "everything in every database" };
const STATES = {
  valid: "valid",
  stale: "expired, still given while it is fetched anew",
  expired: "expired",
  evicted: "of no use any more",
};
const MOST = 30; // items of a list; the rest is counted

/** `make` lists, without empty ones: a list of one is a line. */
function list(items, show) {
  const shown = items.slice(0, MOST).map(show);
  if (items.length > MOST) shown.push(`and ${items.length - MOST} more`);
  if (shown.length === 0) return null;
  if (shown.length === 1) return make("div", {}, shown[0]);
  return make("ul", {}, ...shown.map((each) => make("li", {}, each)));
}

/** A way from what the statement names to what it reaches. */
function way(steps) {
  const parts = [];
  steps.forEach((step, at) => {
    if (at) parts.push(make("span", { class: "arrow", "aria-label": "leads to" }, " → "));
    parts.push(step);
  });
  return make("span", {}, ...parts);
}

const place = (each) => way(each.path.length ? each.path : [each.relation]);

function cause(told) {
  return (each) =>
    make(
      "span",
      {},
      make("b", {}, each.what),
      each.path.length ? make("span", {}, ", reached by ", way(each.path)) : "",
      each.reason === told.reason ? "" : make("small", {}, ` (${each.reason})`),
    );
}

function entries(rows) {
  const columns = [
    ["State", (each) => STATES[each.state] ?? each.state],
    ["Age", (each) => duration(each.age_seconds)],
    ["Expires", (each) => expiry(each.expires_in_seconds)],
    ["Hits", (each) => exact(each.hits)],
    ["Rows", (each) => exact(each.rows)],
    ["Size", (each) => bytes(each.bytes)],
    ["Protocol", (each) => each.protocol],
    ["Parameters", (each) => (each.parameters === null ? NONE : String(each.parameters))],
    ["Role", (each) => each.role],
  ];
  return make(
    "div",
    { class: "scroll" },
    make(
      "table",
      { class: "small" },
      make(
        "thead",
        {},
        make("tr", {}, ...columns.map(([label]) => make("th", { scope: "col" }, label))),
      ),
      make(
        "tbody",
        {},
        ...rows.map((each) =>
          make("tr", {}, ...columns.map(([, show]) => make("td", {}, show(each)))),
        ),
      ),
    ),
  );
}

function expiry(seconds) {
  if (seconds === null) return "never";
  return seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
}

function eviction(gone) {
  const what = gone.what ? ` (${gone.what})` : "";
  const by = gone.by ? `, by ${gone.by}` : "";
  return make(
    "span",
    {},
    `${age(gone.seconds_ago)} ago, by ${words(gone.cause)}${what}${by}`,
    gone.statement ? make("code", { class: "block" }, gone.statement) : "",
  );
}

function fence(each) {
  const over = each.over.length ? ` over ${each.over.join(", ")}` : "";
  return make(
    "span",
    {},
    `${words(each.kind)}${over}, by ${each.owner}, up for ${duration(each.age_seconds)}`,
    each.statement ? make("code", { class: "block" }, each.statement) : "",
  );
}

function writes(told) {
  if (SCOPES[told.scope]) return SCOPES[told.scope];
  return told.relations.length ? list(told.relations, place) : null;
}

function key(told) {
  const login =
    told.login_role && told.login_role !== told.role ? ` (logged in as ${told.login_role})` : "";
  const parts = [
    ["Database", `${told.database} (OID ${told.database_oid})`],
    ["Role", `${told.role || "any"}${login}`],
    ["search_path", told.search_path.join(", ") || "unknown"],
    ["Settings", told.settings ? `hash ${told.settings} of all that can change an answer` : null],
    ["Named settings", told.depends_on_settings.join(", ")],
    ["Text", `as it is written${told.parameters ? `, and ${told.parameters} parameters` : ""}`],
  ];
  return facts(parts);
}

function rules(told) {
  if (!told.asked) return null;
  const decides = told.considered.filter((each) => each.decides);
  const others = told.considered.filter((each) => !each.decides);
  const terms = Object.entries(told.terms)
    .map(([word, value]) => `${words(word)} ${value}`)
    .join(", ");
  return make(
    "div",
    {},
    ...(decides.length
      ? decides.map((each) => make("div", {}, make("b", {}, each.rule), ` decides: ${each.why}`))
      : ["None decides: what is provably safe is cached."]),
    terms ? make("div", {}, `Terms: ${terms}`) : "",
    others.length ? list(others, (each) => `${each.rule}: ${each.why}`) : "",
  );
}

function seen(told) {
  if (told.id === null) return null;
  if (told.calls === undefined)
    return make("span", {}, make("code", {}, told.id), ", not seen in this database yet");
  const counts = [
    ["calls", "calls"],
    ["hits", "from memory"],
    ["misses", "missed"],
    ["bypassed", "bypassed"],
    ["writes", "writes"],
    ["errors", "failed"],
  ]
    .filter(([name]) => told[name] || name === "calls" || name === "hits")
    .map(([name, word]) => `${exact(told[name])} ${word}`);
  return make("span", {}, make("code", {}, told.id), `: ${counts.join(", ")}`);
}

function facts(rows) {
  return make(
    "dl",
    {},
    ...rows
      .filter(([, value]) => value)
      .map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value))),
  );
}

function report(told) {
  const head = make(
    "div",
    { class: `verdict of-${told.decision}` },
    make("strong", {}, told.decision),
    told.reason ? make("code", {}, told.reason) : "",
    make("p", {}, DECISIONS[told.decision] ?? ""),
    told.reason
      ? make(
          "p",
          {},
          `${sentence(told.meaning)} `,
          make("span", { class: "advice" }, sentence(told.advice)),
        )
      : "",
  );
  const stored = told.entries.length
    ? entries(told.entries)
    : told.cacheable
      ? "No answer is stored."
      : null;
  const items = [
    ["Because of", list(told.because, cause(told))],
    ["Also in the way", list(told.also, cause(told))],
    ["Statement", seen(told.statement)],
    ["Reads", list(told.reads, place)],
    ["Writes", writes(told.writes)],
    ["Answers", stored],
    ["Last eviction", told.evicted ? eviction(told.evicted) : null],
    ["Fences", list(told.fences, fence)],
    ["Rules", rules(told.rules)],
    ["Key", told.cacheable ? key(told.key) : null],
    ["Contract", `${told.contract.name}: ${told.contract.promise}`],
    ["Notes", list(told.notes, sentence)],
  ];
  return make("div", { class: "card report" }, head, make("div", { class: "items" }, facts(items)));
}

async function ask() {
  const target = byId("explained");
  const sql = byId("explain-sql").value.trim();
  if (!sql) {
    byId("explain-sql").focus();
    return;
  }
  const question = { sql };
  for (const name of ["database", "role"]) {
    const value = byId(`explain-${name}`).value.trim();
    if (value) question[name] = value;
  }
  target.setAttribute("aria-busy", "true");
  try {
    target.replaceChildren(report(await api.explain(question)));
  } catch (error) {
    target.replaceChildren(make("p", { class: "notice bad" }, error.message));
  }
  target.removeAttribute("aria-busy");
}

let ready = false;

export const explain = {
  shown(argument) {
    if (!ready) {
      ready = true;
      byId("explain-form").addEventListener("submit", (event) => {
        event.preventDefault();
        ask();
      });
      byId("explain-sql").addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          ask();
        }
      });
    }
    if (!argument) return;
    let question;
    try {
      question = JSON.parse(argument);
    } catch {
      return; // a link that was cut off
    }
    for (const name of ["sql", "database", "role"])
      byId(`explain-${name}`).value = question[name] ?? "";
    history.replaceState(null, "", "#/explain");
    ask();
  },

  load: () => Promise.all([api.show("databases"), api.show("clients", { limit: 200 })]),

  draw([databases, clients]) {
    const fill = (id, values) => {
      const list = byId(id);
      const names = [...new Set(values)].filter(Boolean).sort();
      if (list.dataset.shows === names.join("\n")) return;
      list.dataset.shows = names.join("\n");
      list.replaceChildren(...names.map((value) => make("option", { value })));
    };
    fill(
      "databases",
      databases.map((row) => row.name),
    );
    fill(
      "roles",
      clients.map((row) => row.role),
    );
    return 10000;
  },
};

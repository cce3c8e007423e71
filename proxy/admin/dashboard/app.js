// The page as a whole: which section is shown, when Howdah is asked, what the head says.
// Each section is { shown(argument), load(), draw(answers, state) }: only the visible one asks.

import * as api from "./api.js";
import { connections, setup, tables } from "./details.js";
import { explain } from "./explain.js";
import { age, bytes, clock, duration, exact, make, put } from "./format.js";
import { overview } from "./overview.js";
import { statements } from "./statements.js";

const STEP = 2000; // ms between two questions; Howdah takes its samples as often
const SECTIONS = { overview, statements, tables, connections, explain, setup };

const byId = (id) => document.getElementById(id);
let section = null;
let timer = null;
let round = 0; // answers to an older round than this one come too late
let answered = null; // Unix time in s of the last answer

/** The address behind the '#', as it is where it is no valid encoding. */
function address() {
  const text = location.hash.replace(/^#\/?/, "");
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function route() {
  const [name, ...rest] = address().split("/");
  const chosen = SECTIONS[name] ? name : "overview";
  for (const each of Object.keys(SECTIONS)) byId(each).hidden = each !== chosen;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${chosen}`) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  if (section !== null && section !== SECTIONS[chosen]) scrollTo(0, 0);
  section = SECTIONS[chosen];
  section.shown?.(rest.join("/"), refresh);
  const title = byId(`${chosen}-title`).textContent;
  document.title = chosen === "overview" ? "Howdah" : `${title} · Howdah`;
  refresh();
}

/** Ask now, and again after a step; a hidden page asks nothing. */
async function refresh() {
  clearTimeout(timer);
  round += 1;
  if (document.hidden) return;
  const mine = round;
  const shown = section;
  let wait = STEP;
  try {
    const [state, answers] = await Promise.all([api.state(), shown.load()]);
    if (mine !== round) return;
    answered = Date.now() / 1000;
    head(state);
    wait = shown.draw(answers, state) ?? STEP;
    document.body.classList.remove("lost");
    notice("lost", null);
    notice("refused", null);
  } catch (error) {
    if (mine !== round) return;
    if (error instanceof api.Refused) notice("refused", error.message, "warn");
    else lost(error);
  }
  timer = setTimeout(refresh, wait);
}

function lost(error) {
  const network = error instanceof TypeError || error.name === "TimeoutError";
  if (!network) console.error(error);
  document.body.classList.add("lost");
  const since = answered === null ? "" : ` since ${clock(answered)}`;
  const what = network
    ? `Howdah does not answer${since}`
    : `Howdah's answer was not understood (${error.message})`;
  notice("lost", `${what}; asking again.`, "bad");
}

const notices = new Map();

/** Show, change or take away (text null) the notice of that name. */
function notice(name, text, kind) {
  let element = notices.get(name);
  if (text === null) {
    element?.remove();
    notices.delete(name);
    return;
  }
  if (element === undefined) {
    element = make("p", { class: `notice ${kind}` });
    notices.set(name, element);
    byId("notices").append(element);
  }
  put(element, text);
}

function head(state) {
  const fences = state.fences ?? [];
  const oldest = Math.max(0, ...fences.map((fence) => fence.age_seconds ?? 0));
  const bound =
    state.max_age === null || state.max_age === undefined
      ? "never seen: nobody may write past Howdah"
      : `seen within ${age(state.max_age)}`;
  const items = [
    [state.ready ? "good" : "bad", state.ready ? "Ready" : "Not ready", null],
    ["", "Contract", state.contract],
    ["", "Writes past Howdah", bound],
    ["", "Oldest answer", state.entries ? age(state.staleness) : "none"],
    [state.cache === "on" ? "" : "warn", "Cache", state.cache],
    [
      "",
      "Fences",
      fences.length ? `${state.fences_up ?? fences.length}, for ${duration(oldest)}` : "none up",
    ],
    ["", "Up", age(state.uptime)],
  ];
  if (state.verify?.share > 0) {
    const wrong = state.verify.results?.mismatch ?? 0;
    items.push([
      wrong ? "bad" : "",
      "Verify",
      wrong ? `${exact(wrong)} mismatches` : "no mismatch",
    ]);
  }
  const standing = byId("standing");
  if (standing.childElementCount !== items.length) {
    standing.replaceChildren(
      ...items.map(() => make("span", {}, make("i"), make("em"), " ", make("b"))),
    );
  }
  items.forEach(([kind, label, value], at) => {
    const item = standing.children[at];
    item.className = kind;
    put(item.children[1], label);
    put(item.children[2], value ?? "");
  });
  const told = [
    ...(state.problems ?? []).map((text) => [text, "bad"]),
    ...(state.warnings ?? []).map((text) => [text, "warn"]),
  ];
  for (const name of [...notices.keys()]) {
    if (name.startsWith("told ") && !told.some(([text]) => `told ${text}` === name))
      notice(name, null);
  }
  for (const [text, kind] of told) notice(`told ${text}`, text, kind);
  put(
    byId("version"),
    `Howdah ${state.version}, cache ${bytes(state.cache_bytes)} of ${bytes(state.capacity)}`,
  );
}

function theme() {
  const button = byId("theme");
  const root = document.documentElement;
  const label = () => {
    const chosen = root.dataset.theme ?? "auto";
    button.dataset.chosen = chosen;
    button.setAttribute("aria-label", `Colours: ${chosen}`);
    button.title = `Colours: ${chosen}`;
  };
  button.addEventListener("click", () => {
    const next = { auto: "light", light: "dark", dark: null }[root.dataset.theme ?? "auto"];
    if (next === null) delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (next === null) localStorage.removeItem("howdah.theme");
      else localStorage.setItem("howdah.theme", next);
    } catch {
      // No storage: it holds until the page is loaded again.
    }
    label();
  });
  label();
}

theme();
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", refresh);
route();

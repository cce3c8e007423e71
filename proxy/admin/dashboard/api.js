// Asking Howdah. Every answer is JSON; a refusal is { error, hint }.

export class Refused extends Error {}

async function ask(path, options = {}) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10000), ...options });
  const document = await answer.json();
  if (document.error) throw new Refused([document.error, document.hint].filter(Boolean).join(" "));
  if (!answer.ok) throw new Refused(`${path}: HTTP ${answer.status}`);
  return document;
}

export const state = () => ask("/api/state");

/** Samples after `since` as objects, their names taken from the answer. */
export async function series(since) {
  const document = await ask(`/api/series?since=${since}`);
  const samples = document.samples.map((values) =>
    Object.fromEntries(document.names.map((name, at) => [name, values[at]])),
  );
  return { step: document.step, now: document.now, samples };
}

/** Rows of a view as objects. `clauses`: where, order_by, limit. */
export async function show(view, clauses = {}) {
  const query = new URLSearchParams(clauses).toString();
  const document = await ask(`/api/show/${view}${query ? `?${query}` : ""}`);
  const names = document.columns.map((column) => column.name);
  return document.rows.map((values) =>
    Object.fromEntries(names.map((name, at) => [name, values[at]])),
  );
}

export const explain = (question) =>
  ask("/api/explain", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(question),
  });

/** A condition on text that contains `text`, whatever is in it. */
export function contains(column, text) {
  const pattern = text.replace(/[\\%_]/g, "\\$&").replaceAll("'", "''");
  return `${column} ILIKE '%${pattern}%'`;
}

// Numbers as people read them, and small helpers to make elements. No state.

export const NONE = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A number with three significant digits and a suffix: 12, 3,456, 78.9 k, 1.23 M. */
export function count(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  if (size < 10000) return whole.format(value);
  if (size < 1e6) return `${three(value / 1e3)} k`;
  if (size < 1e9) return `${three(value / 1e6)} M`;
  return `${three(value / 1e9)} G`;
}

/** All digits, in groups. */
export function exact(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

/** A number per second: 0.4/s, 12/s, 3.4 k/s. */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  if (value > 0 && value < 10) return `${value.toFixed(1)}/s`;
  return `${count(value)}/s`;
}

function three(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** Seconds as 12 µs, 1.23 ms, 4.56 s, 3 min 4 s, 2 h 5 min, 3 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds === 0) return "0 s";
  if (seconds < 0.9995e-3) return `${three(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${three(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${three(seconds)} s`;
  return age(seconds);
}

/** Like `duration`, in whole seconds. */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

function two(large, unit, small, smaller) {
  return small ? `${large} ${unit} ${small} ${smaller}` : `${large} ${unit}`;
}

/** Bytes as 512 B, 1.23 kB, 45.6 MB. */
export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ]) {
    if (value >= size * 0.9995) return `${three(value / size)} ${unit}`;
  }
  return `${Math.round(value)} B`;
}

/** A share from 0 to 1 as 97.4 %. 100 % is said only of all, 0 % of none. */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return NONE;
  if (share >= 1) return "100 %";
  if (share <= 0) return "0 %";
  const digits = share > 0.999 || share < 0.01 ? 2 : 1;
  const shown = Math.min(100 - 10 ** -digits, Math.max(10 ** -digits, share * 100));
  return `${shown.toFixed(digits)} %`;
}

/** Local time of day of Unix seconds. */
export function clock(time, seconds = true) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (seconds) options.second = "2-digit";
  return new Date(time * 1000).toLocaleTimeString("en-GB", options);
}

/** `a_name_like_this` as `a name like this`. */
export function words(name) {
  return String(name).replaceAll("_", " ");
}

/** A phrase as a sentence: a capital at its start, unless it names something, and a full stop. */
export function sentence(text) {
  const named = /^[a-z]+[_(]|^\S*[A-Z]/.test(text);
  const begun = named ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A round value without needless zeros: 10 ms, not 10.0 ms. */
export function short(text) {
  return text.replace(/\.0+(?=\D)/, "");
}

/** An element: `make("p", { class: "hint", title: "…" }, "text", child, …)`. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the text of an element only if it differs: no needless layout, no lost selection. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A mark in the colour of an outcome, with its name. */
export function outcome(name) {
  return make("span", { class: `outcome of-${name || "none"}` }, name || NONE);
}

// The colours that were chosen on this browser, before the first paint: no flash of the others.
"use strict";
try {
  const chosen = localStorage.getItem("howdah.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // No storage: the system's colours.
}

// The views, one at a time; the address names the one that is open.

import * as collection from "./collection.js";
import * as label from "./label.js";
import * as listen from "./listen.js";
import * as map from "./map.js";
import * as search from "./search.js";
import { comeBack } from "./stale.js";
import { load, say, state, trying } from "./state.js";

const views = { map, search, listen, label, collection };
const started = new Set();

async function show(name, detail) {
  for (const [other, view] of Object.entries(views)) {
    document.getElementById(other).hidden = other !== name;
    const tab = document.getElementById(`tab-${other}`);
    tab.setAttribute("aria-selected", other === name);
    tab.tabIndex = other === name ? 0 : -1;
    if (other !== name) view.hide?.();
  }
  if (location.hash !== `#${name}`) history.replaceState(null, "", `#${name}`);
  if (!started.has(name)) {
    started.add(name);
    await trying(() => views[name].start());
  }
  await views[name].show?.(detail);
  document.body.dataset.view = name;
}

try {
  await load();
  document.getElementById("title").textContent =
    `${state.facts.folder}: ${state.facts.clips.toLocaleString()} sounds`;
  const tabs = Object.keys(views).map((name) => document.getElementById(`tab-${name}`));
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => show(tab.id.slice(4)));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
  });
  state.addEventListener("open", ({ detail }) => show(detail.view, detail.detail));
  const asked = location.hash.slice(1);
  await show(asked in views ? asked : "map");
  const words = comeBack();
  if (words) say(words);
} catch (error) {
  say(`The collection could not be read: ${error.message}`);
}

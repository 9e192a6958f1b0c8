// The views, one at a time, as the address says.

import { addressOf, cardAt, go, here, nameIn, refer } from "./address.js";
import * as collection from "./collection.js";
import * as detector from "./detector.js";
import "./drop.js";
import { whenEmbedded } from "./embedding.js";
import * as kept from "./kept.js";
import * as label from "./label.js";
import * as listen from "./listen.js";
import * as map from "./map.js";
import { now, start as startPlayer } from "./player.js";
import * as recording from "./recording.js";
import * as search from "./search.js";
import * as shortlist from "./shortlist.js";
import { comeBack, keep } from "./stale.js";
import { load, say, state, trying } from "./state.js";
import { moreFor, starFor } from "./take.js";

const views = { map, search, listen, recording, detector, shortlist, label, collection };
const tabOf = (name) => document.getElementById(`tab-${name}`);
const starts = new Map();  // of each view that was shown, the promise of its start
let left = {};  // the address of each view, as it was left
const given = {};  // the address that each view was told of last
let shown;

async function show() {
  const asked = here();
  const name = asked.view in views ? asked.view : "map";
  const address = addressOf(name, asked.wanted);
  if (address !== location.hash) go(address, { quietly: true });
  left[name] = shown = address;
  for (const other of Object.keys(views)) {
    document.getElementById(other).hidden = other !== name;
    tabOf(other).setAttribute("aria-selected", other === name);
    tabOf(other).tabIndex = other === name ? 0 : -1;
    if (other !== name) views[other].hide?.();
  }
  tabOf(name).scrollIntoView({ inline: "nearest", block: "nearest" });
  entitle(name, asked.wanted);
  if (!starts.has(name)) starts.set(name, start(name));
  await starts.get(name);
  if (shown !== address) return;  // another view came forward meanwhile
  keepFocus(name);
  const fresh = given[name] !== address;
  given[name] = address;
  await views[name].show?.(fresh ? detail(name, asked.wanted) : undefined);
  if (shown === address) document.body.dataset.view = name;
}

// Until a view has started, its controls do nothing: they are hidden, and what is said instead is in
// the style sheet.
async function start(name) {
  const section = document.getElementById(name);
  section.ariaBusy = true;
  await trying(() => views[name].start());
  section.ariaBusy = false;
}

// Search is told all that the address asks for, the other views the sound that it names.
function detail(name, wanted) {
  if (name === "search") return wanted;
  const reference = wanted.get("sound");
  if (!reference) return undefined;
  const card = cardAt(reference);
  if (!card) say(`${nameIn(reference)} is not in this collection.`);
  return card;
}

function entitle(name, wanted) {
  const sound = wanted.get("sound");
  const about = sound ? nameIn(sound) : views[name].title?.(wanted);
  document.title = [about, tabOf(name).firstChild.textContent.trim(), state.facts.folder, "embedkit"]
    .filter((each) => each).join(" · ");
}

// What had the focus may be hidden now: then the view has it.
function keepFocus(name) {
  const focused = document.activeElement;
  if (focused === document.body || focused?.closest("[hidden]")) {
    document.getElementById(name).focus({ preventScroll: true });
  }
}

function count() {
  const number = kept.all().length;
  document.getElementById("tab-shortlist-count").textContent = number || "";
}

function takeFromPlayer() {
  const card = () => now().card;
  const buttons = [starFor(card), moreFor(card)];
  document.getElementById("player-take").append(...buttons);
  for (const event of ["player", "shortlist"]) {
    state.addEventListener(event, () => buttons.forEach((each) => each.draw()));
  }
}

try {
  await load(await whenEmbedded());
  document.getElementById("title").textContent =
    `${state.facts.folder}: ${state.facts.clips.toLocaleString()} sound${state.facts.clips === 1 ? "" : "s"}`;
  kept.start();
  startPlayer();
  count();
  state.addEventListener("shortlist", count);
  takeFromPlayer();
  const tabs = Object.keys(views).map(tabOf);
  const lead = (tab) => go(left[tab.id.slice(4)] ?? addressOf(tab.id.slice(4)));
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => lead(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      next.focus();
      lead(next);
    });
  });
  state.addEventListener("open", ({ detail: { view, detail: card } }) => {
    const wanted = card && { [view === "search" ? "like" : "sound"]: refer(card) };
    go(wanted ? addressOf(view, wanted) : left[view] ?? addressOf(view));
  });
  state.addEventListener("address", show);
  document.addEventListener("keydown", async (event) => {
    if (event.key !== "/" || event.target.closest("input:not([type=range]), textarea")) return;
    event.preventDefault();
    go(left.search ?? addressOf("search"));
    await starts.get("search");
    document.getElementById("search-words").select();
  });
  window.addEventListener("popstate", show);
  keep("left", () => left, (before) => {
    left = { ...before, ...left };
    return "";
  });
  document.querySelector("nav").hidden = document.getElementById("player-bar").hidden = false;
  await show();
  const words = comeBack();
  if (words) say(words);
} catch (error) {
  say(`The collection could not be read: ${error.message}`);
}

// Labels, one sound after another: the server proposes those that teach most.

import { getFile } from "./api.js";
import { button, play, showPicture, time } from "./cards.js";
import { catchFocus } from "./focus.js";
import * as walk from "./labelling.js";
import { now as playing, stop, toggle } from "./player.js";
import { markPlace } from "./playhead.js";
import { keep } from "./stale.js";
import { labelOf, open, state, trying, wholeOf } from "./state.js";

const LISTED = 24;
const SOON = 6;  // of those to come
const byId = (name) => document.getElementById(`label-${name}`);
const [sound, text, find] = ["now", "text", "find"].map(byId);

let active = false;
let numbers;  // of clips, by name
let shown;  // what is on the page: the clip with its label and guess
let heard;  // the card that this view played last

export function start() {
  numbers = new Map(state.names.map((name, clip) => [name, clip]));
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const label = text.value.trim();
    if (!label) return;
    text.value = "";
    give(label).then((went) => { if (!went) text.value ||= label; });
  });
  const buttons = { skip: walk.pass, undo: walk.undo, back: walk.back, clear: walk.clear };
  for (const [name, work] of Object.entries(buttons)) {
    byId(name).addEventListener("click", () => act(work));
  }
  byId("play").addEventListener("click", () => { hear(); sound.focus({ preventScroll: true }); });
  byId("open").addEventListener("click", () => open("listen", wholeOf(walk.now())));
  byId("like").addEventListener("click", () => open("search", wholeOf(walk.now())));
  for (const form of ["csv", "audacity", "raven"]) {
    byId(form).addEventListener("click", () => download(form));
  }
  find.addEventListener("input", list);
  document.addEventListener("keydown", press, { capture: true });  // before the player's own keys
  markPlace(byId("head"), () => shown && wholeOf(shown.clip));
  walk.labelling.addEventListener("change", draw);
  return walk.begin();
}

export async function show(card) {
  active = true;
  if (card) await act(() => walk.take(card.clip));
  draw();
}

export const hide = () => { active = false; };

// Whatever is done, the next key is for the sound.
async function act(work) {
  sound.focus({ preventScroll: true });
  const went = await work();
  if (active && !walk.busy() && walk.now() !== heard?.clip) {
    if (walk.now() === undefined) stop();
    else hear();
  }
  return went;
}

const give = (label) => act(() => walk.give(label));

function hear() {
  const clip = walk.now();
  if (clip === undefined) return;
  if (clip === heard?.clip && playing().card === heard) toggle();
  else play(heard = wholeOf(clip));
}

const KEYS = {
  " ": hear, Enter: () => text.focus(), s: () => act(walk.pass), z: () => act(walk.undo),
  ArrowLeft: () => act(walk.back), ArrowRight: () => act(walk.pass), Delete: () => act(walk.clear),
};

function press(event) {
  if (!active || event.ctrlKey || event.metaKey || event.altKey
    || document.querySelector(":popover-open")) return;
  const { key, target } = event;
  if (target.closest("input:not([type=range]), select, textarea")) {
    if (key !== "Escape" || !target.closest("#label")) return;
    sound.focus({ preventScroll: true });
  } else {
    const label = /^[1-9]$/.test(key) && walk.keys()[key - 1];
    const work = label ? () => give(label) : KEYS[key.length === 1 ? key.toLowerCase() : key];
    // A button has its own use for these; the tab that is open has none, but goes to others.
    const own = target.closest("[role=tab], [type=range]") ? key.startsWith("Arrow")
      : [" ", "Enter"].includes(key) && target.closest("button, a, summary");
    if (!work || own) return;
    if (target !== sound) sound.focus({ preventScroll: true });
    if (!event.repeat) work();  // held down, a key is pressed once
  }
  event.preventDefault();
}

async function download(form) {
  const file = await trying(() => getFile(`export/${form}`));
  if (!file) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = form === "csv" ? "labels.csv" : `${form}.zip`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

keep(
  "label",
  () => state.names[walk.now()],
  (name) => {
    const clip = state.names.indexOf(name);
    if (clip < 0) return `${name} is not in this collection.`;
    walk.take(clip);
    return "";
  },
);

function draw() {
  if (!active) return;
  const names = walk.keys();
  byId("names").replaceChildren(...names.map((name) => new Option(name, name)));
  reuse(byId("keys"), names.slice(0, 9).map((name, index) => [`${index + 1} ${name}`, name]),
    (key, name) => {
      const made = button("", () => give(name), `Label it ${name}`);
      made.append(mark("kbd", key[0]), ` ${name}`);
      return made;
    });
  drawProgress();
  drawSound();
  byId("busy").textContent = walk.busy() ? "Saving …" : walk.looking() ? "Learning …" : "";
  reuse(byId("next"), walk.next().slice(0, SOON).map((clip) => [entry(clip), clip]), pictured);
  list();
  catchFocus(sound);
}

function drawProgress() {
  const { labels, names } = state;
  const labelled = names.reduce((count, name) => count + Boolean(labels[name]), 0);
  const bar = byId("bar");
  [bar.max, bar.value] = [names.length, labelled];
  byId("progress").textContent =
    `${labelled.toLocaleString()} of ${names.length.toLocaleString()} sounds labelled`;
  const { accuracy, accuracy_interval: interval } = walk.learned ?? {};
  const percent = (share) => (100 * share).toFixed(0);
  byId("accuracy").textContent = accuracy == null ? "" : `${percent(accuracy)} % (`
    + `${interval.map(percent).join(" to ")} %) right on labelled sounds held out`;
  byId("end").textContent = labelled === names.length
    ? "Nothing is left to label: every sound has a label."
    : `Nothing is left to label: the labels file leaves the other ${names.length - labelled} out.`;
}

function drawSound() {
  const clip = walk.now();
  const waits = clip === undefined && (walk.looking() || walk.busy());
  sound.hidden = clip === undefined;
  byId("form").hidden = byId("keys").hidden = clip === undefined;
  byId("end").hidden = clip !== undefined || waits || !walk.learned;
  if (clip === undefined) {
    shown = undefined;
    return;
  }
  const about = { clip, label: labelOf(clip), guess: walk.guess(clip) };
  if (JSON.stringify(about) === JSON.stringify(shown)) return;
  const card = wholeOf(clip);
  if (clip !== shown?.clip) {
    const picture = new Image();  // another one: the last sound's is never seen under this name
    byId("picture").replaceChildren(picture);
    showPicture(picture, card);
    byId("name").textContent = card.name;
    byId("play").setAttribute("aria-label", `Play ${card.name}`);
  }
  const length = state.seconds[clip];
  byId("facts").textContent =
    card.end_s < length ? `the first ${time(card.end_s)} of ${time(length)}` : time(length);
  byId("given").textContent = about.label;
  byId("given").hidden = byId("clear").hidden = !about.label;
  text.placeholder = about.guess && !about.label ? `${about.guess}?` : "";
  shown = about;
}

// The sounds that were labelled, the last one first; or of all those that are called so.
function list() {
  const wanted = find.value.trim().toLowerCase();
  const labelled = Object.keys(state.labels).reverse().map((name) => numbers.get(name))
    .filter((clip) => clip !== undefined);
  const clips = [...new Set([...walk.done().filter(labelOf), ...labelled])];
  const fits = (clip) => `${state.names[clip]} ${labelOf(clip)}`.toLowerCase().includes(wanted);
  const found = wanted ? [...state.names.keys()].filter(fits) : clips;
  reuse(byId("done"), found.slice(0, LISTED).map((clip) => [entry(clip), clip]), row);
  byId("more").textContent = found.length > LISTED
    ? `and ${(found.length - LISTED).toLocaleString()} more: find one by its name or label` : "";
}

const entry = (clip) => `${clip} ${labelOf(clip)} ${walk.guess(clip)}`;

function pictured(key, clip) {
  const made = row(key, clip);
  const picture = new Image();
  picture.loading = "lazy";
  showPicture(picture, wholeOf(clip));
  picture.alt = "";
  made.prepend(picture);
  return made;
}

function row(key, clip) {
  const made = button("", () => act(() => walk.take(clip)));
  made.append(mark("name", state.names[clip]));
  const [label, guess] = [labelOf(clip), walk.guess(clip)];
  if (label) made.append(mark("tag", label));
  else if (guess) made.append(mark("quiet", `${guess}?`));
  return made;
}

function mark(kind, text) {
  const made = document.createElement(kind === "kbd" ? "kbd" : "span");
  if (kind !== "kbd") made.className = kind;
  made.textContent = text;
  return made;
}

// Elements whose key has not changed stay: pictures are not asked for again.
function reuse(place, entries, make) {
  const old = new Map([...place.children].map((each) => [each.dataset.key, each]));
  const made = entries.map(([key, value]) => {
    const found = old.get(key) ?? make(key, value);
    found.dataset.key = key;
    return found;
  });
  if (made.some((each, index) => place.children[index] !== each)
    || made.length !== place.children.length) place.replaceChildren(...made);
}

// Labels, one sound after another: the server proposes those that teach most.

import { getFile, post } from "./api.js";
import { button, makeCard, play } from "./cards.js";
import { keep } from "./stale.js";
import { cardNamed, setLabel, state, trying } from "./state.js";

const byId = (name) => document.getElementById(`label-${name}`);
const text = byId("text");

let queue = [];
let skipped = new Set();
let given = [];  // cards with the label that each had before, for undo
let active = false;
let busy;  // one thing at a time: each is for the sound that is shown

export function start() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    give(text.value.trim());
  });
  byId("skip").addEventListener("click", skip);
  byId("undo").addEventListener("click", undo);
  for (const form of ["csv", "audacity", "raven"]) {
    byId(form).addEventListener("click", () => download(form));
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (!active || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const names = labels();
    if (/^[1-9]$/.test(event.key) && names[event.key - 1]) give(names[event.key - 1]);
    else if (event.key === " " && !event.target.closest("button, a")) queue[0] && play(queue[0]);
    else if (event.key === "s") skip();
    else if (event.key === "z") undo();
    else return;
    event.preventDefault();
  });
}

export async function show(card) {
  active = true;
  if (card) queue.unshift(card);
  if (!queue.length) await refill();
  else draw();
}

export const hide = () => { active = false; };

const labels = () => [...new Set(Object.values(state.labels))].sort();

async function refill() {
  const found = await trying(() => post("refit"));
  if (!found) return;
  const percent = (share) => (100 * share).toFixed(0);
  const accuracy = found.accuracy == null ? "" :
    `, ${percent(found.accuracy)} % (${found.accuracy_interval.map(percent).join(" to ")} %) right`
    + " on labelled sounds held out";
  byId("progress").textContent = `${found.labelled.toLocaleString()} of`
    + ` ${found.clips.toLocaleString()} sounds labelled${accuracy}`;
  queue = found.proposed.filter((card) => !skipped.has(card.clip));
  draw();
}

const alone = (work) => {
  busy = work().finally(() => { busy = undefined; });
  return busy;
};

const set = (card, label) =>
  trying(async () => { await setLabel(card.clip, label); return true; });

async function give(label) {
  const [card] = queue;
  if (!card || !label || busy) return;
  const before = state.labels[card.name] ?? "";
  await alone(async () => {
    if (!await set(card, label)) return;
    given.push({ ...card, before });
    if (text.value.trim() === label) text.value = "";  // else it is the next one, typed meanwhile
    await next();
  });
}

async function skip() {
  if (!queue.length || busy) return;
  skipped.add(queue[0].clip);
  await alone(next);
}

async function undo() {
  while (busy) await busy;
  const card = given.at(-1);
  if (!card) return;
  await alone(async () => {
    if (!await set(card, card.before)) return;
    given.pop();
    queue.unshift(card);
    draw();
  });
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
  () => queue[0]?.name,
  (name) => {
    const card = cardNamed(name);
    if (!card) return `${name} is not in this collection.`;
    queue = [card, ...queue.filter((each) => each.clip !== card.clip)];
    if (active) draw();
    return "";
  },
);

// A new fit after each few answers: it takes a moment, and the queue has more to hear meanwhile.
async function next() {
  queue.shift();
  if (!queue.length || given.length % 4 === 0) await refill();
  else draw();
  if (queue.length) play(queue[0]);
}

function draw() {
  const names = labels();
  byId("names").replaceChildren(...names.map((name) => new Option(name, name)));
  byId("keys").replaceChildren(...names.slice(0, 9).map((name, index) =>
    button(`${index + 1} ${name}`, () => give(name))));
  const [now, ...rest] = queue;
  byId("now").replaceChildren(...(now ? [makeCard(now)] : ["Nothing is left to label."]));
  byId("next").replaceChildren(...rest.map((card) => makeCard(card)));
  if (now?.guess) text.placeholder = `${now.guess}?`;
}

// Labels, one sound after another: the server proposes those that teach most.

import { post } from "./api.js";
import { button, makeCard, play } from "./cards.js";
import { setLabel, state, trying } from "./state.js";

const byId = (name) => document.getElementById(`label-${name}`);
const text = byId("text");

let queue = [];
let skipped = new Set();
let given = [];  // clips, for undo
let active = false;
let giving = false;

export function start() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    give(text.value.trim());
  });
  byId("skip").addEventListener("click", skip);
  byId("undo").addEventListener("click", undo);
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
  const found = await trying(() => post("/api/refit"));
  if (!found) return;
  const accuracy = found.accuracy == null ? "" :
    `, ${(100 * found.accuracy).toFixed(0)} % right on labelled sounds held out`;
  byId("progress").textContent = `${found.labelled.toLocaleString()} of`
    + ` ${found.clips.toLocaleString()} sounds labelled${accuracy}`;
  queue = found.proposed.filter((card) => !skipped.has(card.clip));
  draw();
}

async function give(label) {
  const [card] = queue;
  if (!card || !label || giving) return;  // one stroke at a time: each is for the sound that is shown
  giving = true;
  try {
    if (await trying(async () => { await setLabel(card.clip, label); return true; })) {
      given.push(card);
      text.value = "";
      await next();
    }
  } finally {
    giving = false;
  }
}

function skip() {
  if (queue.length) skipped.add(queue[0].clip);
  next();
}

async function undo() {
  const card = given.pop();
  if (!card) return;
  await trying(() => setLabel(card.clip, ""));
  queue.unshift(card);
  draw();
}

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

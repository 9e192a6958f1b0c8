// What is chosen on the map is one thing: it plays, gets a label, goes on the shortlist, and is
// searched by.

import { addressOf, go, refer } from "./address.js";
import { post } from "./api.js";
import { play, showCards } from "./cards.js";
import * as kept from "./kept.js";
import { cardOf, labelOf, mention, state, trying } from "./state.js";

const SHOWN = 30;  // cards
const ASKED = 12;  // of what is chosen, that a search is by
const byId = (name) => document.getElementById(`map-chosen${name}`);
const [bar, title, place, undo] = ["-bar", "-title", "", "-undo"].map(byId);
const text = byId("-text");

let cards = [];  // of each sound the first point that is chosen
let before;  // the labels that the last one took the place of

export function start() {
  byId("-play").addEventListener("click", () => play(cards));
  byId("-keep").addEventListener("click", keepAll);
  byId("-like").addEventListener("click", () => {
    const every = Math.max(1, cards.length / ASKED);
    const asked = cards.filter((_, at) => Math.floor(at / every) !== Math.floor((at - 1) / every));
    go(addressOf("search", asked.map((card) => ["like", refer(card)])));
  });
  byId("-label").addEventListener("submit", (event) => {
    event.preventDefault();
    const label = text.value.trim();
    if (label) trying(() => labelAll(label));
  });
  undo.addEventListener("click", () => trying(takeBack));
}

/** The points of these numbers. */
export function show(rows) {
  const first = new Map();
  for (const row of rows) if (!first.has(state.clip[row])) first.set(state.clip[row], row);
  cards = [...first.values()].map(cardOf);
  const part = cards.length > SHOWN ? `, of which ${SHOWN} are shown` : "";
  const called = rows.length === 1 ? "Chosen" : `${cards.length.toLocaleString()} sounds${part}`;
  title.textContent = called;
  title.hidden = !rows.length;
  bar.hidden = cards.length < 2;
  byId("-said").textContent = rows.length > 1 ? `${called} chosen` : "";
  before = undefined;
  undo.hidden = true;
  text.value = "";
  showCards(place, cards.slice(0, SHOWN));
  return cards;
}

function keepAll() {
  const added = cards.filter((card) => !kept.has(card));
  kept.put([...kept.all(), ...added.map(({ name, start_s, end_s }) => ({ name, start_s, end_s }))]);
  mention(`${added.length.toLocaleString()} sounds more are on the shortlist`);
}

async function labelAll(label) {
  before = cards.map(({ clip }) => [clip, labelOf(clip)]);
  undo.hidden = false;
  await give(cards.map(({ clip }) => [clip, label]));
  mention(`${cards.length.toLocaleString()} sounds are ${label}`);
}

async function takeBack() {
  const back = before;
  undo.hidden = true;
  await give(back);
  mention("Their labels are as before");
}

// One by one, as each is on the disk before the next; the views are told at the end.
async function give(pairs) {
  bar.setAttribute("aria-busy", true);
  try {
    for (const [clip, label] of pairs) {
      if (labelOf(clip) !== label) state.labels = await post("labels", { clip, label });
    }
  } finally {
    bar.removeAttribute("aria-busy");
    state.dispatchEvent(new Event("labels"));
  }
}

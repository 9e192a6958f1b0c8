// What a person means to keep: sounds by name, each with a second of it. Of this browser, and of a
// collection: a reload and a new edition leave it as it is.

import { state } from "./state.js";
import { recall, store } from "./stored.js";

let items = [];

const key = () => `embedkit-shortlist:${state.facts.folder}`;

const changed = () => state.dispatchEvent(new Event("shortlist"));

const read = () => { items = recall(key()) ?? []; };

export function start() {
  read();
  window.addEventListener("storage", (event) => {  // another page has changed it
    if (event.key !== key()) return;
    read();
    changed();
  });
}

export const all = () => items;

export const has = ({ name }) => items.some((item) => item.name === name);

/** Puts a card on the list, or takes its sound off. */
export const toggle = (card) => {
  const { name, start_s, end_s } = card;
  put(has(card) ? items.filter((item) => item.name !== name) : [...items, { name, start_s, end_s }]);
};

/** Another list. */
export function put(others) {
  items = others;
  store(key(), items);
  changed();
}

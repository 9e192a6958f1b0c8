// What a view offers before anything is chosen in it: sounds to begin with.

import { showCards } from "./cards.js";
import { labelOf, state, wholeOf } from "./state.js";

const OFFERED = 8;  // full rows of one, two and four

/** The sounds that were labelled last, and some of the others; of a view by its name. */
export function offerSounds(view) {
  const numbers = new Map(state.names.map((name, clip) => [name, clip]));
  const labelled = Object.keys(state.labels).reverse().map((name) => numbers.get(name))
    .filter((clip) => clip !== undefined).slice(0, OFFERED);
  const others = [...state.names.keys()].filter((clip) => !labelOf(clip));
  const left = Math.min(others.length, OFFERED - labelled.length);
  const spread = Array.from({ length: left }, (_, at) => others[Math.floor((at * others.length) / left)]);
  document.getElementById(`${view}-offers-title`).textContent = !labelled.length
    ? "Some of the collection" : left ? "Labelled last, and some others" : "Labelled last";
  offer(view, [...labelled, ...spread]);
}

/** The longest recordings, the longest one first; of a view by its name. */
export function offerRecordings(view) {
  offer(view, longest().slice(0, OFFERED), { isRecording: true });
}

/** All clips, by number, the longest one first. */
export const longest = () =>
  [...state.names.keys()].sort((one, other) => state.seconds[other] - state.seconds[one]);

const offer = (view, clips, about) =>
  showCards(document.getElementById(`${view}-offers`), clips.map(wholeOf), about);

// What the views share: the collection, its labels, and what was chosen last.

import { get, getNumbers, post } from "./api.js";

export const state = new EventTarget();

export async function load(facts) {
  const [clips, segments, labels] = await Promise.all([
    get("clips"),
    getNumbers("segments", Float32Array),
    get("labels"),
  ]);
  Object.assign(state, { facts, names: clips.names, seconds: clips.seconds, labels });
  state.count = segments.length / 3;
  state.clip = new Int32Array(state.count);
  for (let row = 0; row < state.count; row++) state.clip[row] = segments[3 * row];
  state.segments = segments;
  state.folders = state.names.map((name) => name.slice(0, Math.max(0, name.lastIndexOf("/"))));
}

export const cardOf = (row) => ({
  row,
  clip: state.clip[row],
  name: state.names[state.clip[row]],
  start_s: state.segments[3 * row + 1],
  end_s: state.segments[3 * row + 2],
  label: labelOf(state.clip[row]),
});

/** Seconds of a recording that the server gives at once: of what is slowed down, less. */
export const longest = (speed = state.facts.hearing.speed) => 120 * Math.min(1, speed);

/** A whole sound as a card, or its beginning. */
export function wholeOf(clip) {
  const row = state.clip.indexOf(clip);
  return { ...cardOf(row), start_s: 0, end_s: Math.min(state.seconds[clip], longest()) };
}

// The card of a sound by its name, which means the same in every edition, and of the second that is
// nearest to a time; undefined: it is not there.
export function cardNamed(name, start_s = 0) {
  const clip = state.names.indexOf(name);
  if (clip < 0) return undefined;
  const away = (row) => Math.abs(state.segments[3 * row + 1] - start_s);
  let nearest = state.clip.indexOf(clip);
  for (let row = nearest; state.clip[row] === clip; row++) {
    if (away(row) < away(nearest)) nearest = row;
  }
  return cardOf(nearest);
}

/** Of a clip; empty: none. */
export const labelOf = (clip) => state.labels[state.names[clip]] ?? "";

export async function setLabel(clip, label) {
  state.labels = await post("labels", { clip, label });
  state.dispatchEvent(new Event("labels"));
  return true;
}

// Asks a view to come forward, with a card or without.
export const open = (view, detail) =>
  state.dispatchEvent(new CustomEvent("open", { detail: { view, detail } }));

// What went wrong.
export function say(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.hidden = !text;
}

// What was done, for a moment; or what is being done.
let fading;
export function mention(text, { stays = false } = {}) {
  const mentioned = document.getElementById("mentioned");
  mentioned.textContent = text;
  clearTimeout(fading);
  if (!stays) fading = setTimeout(() => { mentioned.textContent = ""; }, 4000);
}

// Runs what the server may refuse, and says why it did.
export async function trying(work) {
  try {
    say("");
    return await work();
  } catch (error) {
    say(error.message);
    return undefined;
  }
}

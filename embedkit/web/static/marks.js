// Marks on stretches of recordings: a label that is there, is not, or nobody knows. On the disk at
// every stroke.

import { get, post } from "./api.js";
import { mention, state } from "./state.js";
import { clock } from "./times.js";

const SAID = { "+": "yes", "-": "no", "?": "unsure", "": "taken away" };

let all;

/** Those of a clip, once they are there. */
export const marksOf = (clip) => (all ?? []).filter((each) => each.clip === clip);

/** Labels of marks, the first one first. */
export const markLabels = () => [...new Set((all ?? []).map(({ label }) => label))];

export async function load() {
  if (!all) take(await get("marks"));
}

/** As the server has them now. */
export function take(marks) {
  all = marks;
  state.dispatchEvent(new Event("marks"));
}

/** Marks a stretch with a sign: `+`, `-` or `?`; an empty one takes the mark away. */
export async function mark({ clip, name, start_s, end_s }, label, sign) {
  take(await post("marks", { clip, start_s, end_s, label, sign }));
  mention(`${name}, ${clock(start_s)} to ${clock(end_s)}: ${label}, ${SAID[sign]}`);
  return true;
}

/** What a key says of a stretch; undefined: nothing. */
export const signOf = (key) => ({ y: "+", n: "-", u: "?" })[key.toLowerCase()];

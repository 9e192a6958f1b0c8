// The detector of the marks: what it is fitted on, which score of each label is enough, and which of
// its segments are one detection. What a person chose is kept in the browser.

import { get, post } from "./api.js";
import { state } from "./state.js";
import { recall, store } from "./stored.js";

const ENOUGH = 0.5;

let facts = { fitted: false, labels: [] };
let chosen;

const key = () => `embedkit-detector:${state.facts.folder}`;

// Thresholds by label; of detections of one label how far apart are one, and which are too short.
function choices() {
  if (!chosen) {
    const kept = recall(key());
    chosen = { gap_s: 0, least_s: 0, ...kept, thresholds: new Map(kept?.thresholds) };
  }
  return chosen;
}

function choose(change) {
  change(choices());
  store(key(), { ...chosen, thresholds: [...chosen.thresholds] });
  told();
}

export const detector = () => facts;

/** Labels that have scores, in the order of the scores. */
export const fitted = () => facts.labels.filter(({ histogram }) => histogram)
  .map(({ label }) => label);

export const thresholdOf = (label) => choices().thresholds.get(label) ?? ENOUGH;

export const setThreshold = (label, score) => choose(({ thresholds }) => thresholds.set(label, score));

/** How detections of one label are joined: `gap_s` and `least_s`. */
export const joining = () => ({ gap_s: choices().gap_s, least_s: choices().least_s });

export const join = (how) => choose((all) => Object.assign(all, how));

export const load = async () => take(await get("detector"));

export const fit = async () => take(await post("detector/fit"));

/** What is asked for of some labels: their thresholds, and how their detections are joined. */
export const wanted = (labels = fitted()) => ({ ...joining(),
  thresholds: Object.fromEntries(labels.map((label) => [label, thresholdOf(label)])) });

export const found = (asked) => post("detector/found", asked);

/** All detections in a recording, by time. */
export async function along(clip) {
  const columns = await post(`detector/found/${clip}`, wanted());
  return columns.start_s.map((start_s, at) => ({ start_s, end_s: columns.end_s[at],
    label: columns.label[at], score: columns.score[at] }));
}

function take(now) {
  facts = now;
  told();
}

const told = () => state.dispatchEvent(new Event("detector"));

// The detector of the marks: what it is fitted on, and which score of each label is enough.

import { get, post } from "./api.js";
import { state } from "./state.js";

const ENOUGH = 0.5;

let facts = { fitted: false, labels: [] };
const thresholds = new Map();

export const detector = () => facts;

/** Labels that have scores, in the order of the scores. */
export const fitted = () => facts.labels.filter(({ histogram }) => histogram)
  .map(({ label }) => label);

export const thresholdOf = (label) => thresholds.get(label) ?? ENOUGH;

export function setThreshold(label, score) {
  thresholds.set(label, score);
  told();
}

export const load = async () => take(await get("detector"));

export const fit = async () => take(await post("detector/fit"));

/** What is asked for of some labels: their thresholds. */
export const wanted = (labels = fitted()) =>
  ({ thresholds: Object.fromEntries(labels.map((label) => [label, thresholdOf(label)])) });

export const found = (asked) => post("detector/found", asked);

function take(now) {
  facts = now;
  told();
}

const told = () => state.dispatchEvent(new Event("detector"));

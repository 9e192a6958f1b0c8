// Which sound is labelled now, what came before it, what comes after, and how to go back.
//
// What is asked for waits for what was asked before: a label is on the disk before the next thing
// happens, and no key is lost meanwhile.

import { post } from "./api.js";
import { storage } from "./stale.js";
import { labelOf, say, setLabel, state, trying } from "./state.js";

const KEPT = "embedkit-labelling";
const REMEMBERED = 10_000;  // steps, over a reload
const FIT_EVERY = 4;  // labels: a fit takes a moment, and there is more to hear meanwhile
const SOON = 3;  // so few are left

/** Says "change". */
export const labelling = new EventTarget();

let before = [];  // clips, by number, that were shown; the last one was shown last
let after = [];  // the one that is shown, and those to come
let given = [];  // labels and skips, to undo: { clip, from, to }
let passed = new Set();  // over, for now
let names = [];  // of labels by first use: what the number keys stand for
let waiting = [];  // what was asked for and is not done yet
let fitting;
let restored = false;
const guesses = new Map();

export const now = () => after[0];
export const next = () => after.slice(1);
export const keys = () => names;
export const guess = (clip) => guesses.get(clip) ?? "";
export const busy = () => waiting.length > 0;
export const looking = () => fitting !== undefined;
/** Clips that were labelled or skipped here, the last one first. */
export const done = () => [...new Set(given.map(({ clip }) => clip).reverse())];
/** What the last fit said of the labels. */
export let learned;

export function begin() {
  restore();
  return Promise.all([propose(), ask(async () => { await there(); return true; })]);
}

// Goes on where the tab was before it was loaded again.
function restore() {
  if (restored) return;
  restored = true;
  const kept = JSON.parse(storage()?.getItem(KEPT) ?? "{}");
  if (kept.edition === state.facts.edition) {
    ({ before, given, names } = kept);
    passed = new Set(kept.passed);
    after = kept.now == null ? [] : [kept.now];
  }
  state.addEventListener("labels", number);
  number();
}

/** Each of these is whether it went well; what waits behind one that did not is dropped. */
export const give = (label) => ask(async () => {
  const clip = await there();
  if (clip === undefined || !await set(clip, label)) return false;
  passed.delete(clip);
  await goOn(given.length % FIT_EVERY === 0);
  return true;
});

/** To the next one; a sound without a label comes back when nothing else is left. */
export const pass = () => ask(async () => {
  const clip = await there();
  if (clip === undefined) return false;
  if (!labelOf(clip)) {
    passed.add(clip);
    given.push({ clip, from: "", to: "" });
  }
  await goOn();
  return true;
});

/** To the sound before, as it was labelled. */
export const back = () => ask(async () => {
  if (before.length) after.unshift(before.pop());
  return true;
});

/** Takes the last label or skip back, and shows its sound. */
export const undo = () => ask(async () => {
  const last = given.at(-1);
  if (!last) return true;
  if (labelOf(last.clip) !== last.to) {
    say(`${state.names[last.clip]} was given another label elsewhere, which stays.`);
  } else if (last.from !== last.to && !await trying(() => setLabel(last.clip, last.from))) {
    return false;
  }
  given.pop();
  passed.delete(last.clip);
  bring(last.clip);
  return true;
});

/** Takes the label of the sound that is shown away. */
export const clear = () => ask(async () =>
  !labelOf(after[0]) || await set(after[0], ""));

/** Shows a sound, whether it has a label or not. */
export const take = (clip) => ask(async () => { bring(clip); return true; });

function ask(work) {
  restore();
  return new Promise((resolve) => {
    waiting.push({ work, resolve });
    if (waiting.length === 1) drain();
  });
}

async function drain() {
  while (waiting.length) {
    changed();
    const went = await waiting[0].work();
    // What waits was meant for the sounds that would have come after.
    const over = waiting.splice(0, went ? 1 : waiting.length);
    for (const { resolve } of over) resolve(went);
  }
  changed();
}

async function set(clip, label) {
  const from = labelOf(clip);
  if (!await trying(() => setLabel(clip, label))) return false;
  given.push({ clip, from, to: labelOf(clip) });
  return true;
}

function bring(clip) {
  [before, after] = [before, after].map((clips) => clips.filter((each) => each !== clip));
  after.unshift(clip);
}

async function goOn(fit = false) {
  before.push(after.shift());
  if (fit || after.length < SOON) propose();
  await there();
}

// The sound that is shown; undefined: none is left.
async function there() {
  while (!after.length) {
    const asked = fitting;  // with fewer labels than now: it may name none that is left
    await propose();
    if (!asked) break;
  }
  return after[0];
}

function propose() {
  fitting ??= fit().finally(() => {
    fitting = undefined;
    changed();
  });
  return fitting;
}

async function fit() {
  const wanted = () => post("refit", { passed: [...passed].slice(-REMEMBERED) });
  const found = await trying(async () => {
    const found = await wanted();
    if (found.proposed.length || !passed.size) return found;
    passed.clear();  // all that is left was passed over
    return wanted();
  });
  if (!found) return;
  learned = found;
  for (const { clip, guess } of found.proposed) guesses.set(clip, guess);
  // What is shown stays, and so does what was gone back over.
  const kept = after.filter((clip, place) => !place || labelOf(clip) || passed.has(clip));
  const fresh = found.proposed.map(({ clip }) => clip)
    .filter((clip) => !labelOf(clip) && !passed.has(clip) && !kept.includes(clip));
  after = [...kept, ...fresh];
}

// A label keeps its key; the next new one gets the next key.
function number() {
  const used = new Set(Object.values(state.labels));
  while (names.length && !used.has(names.at(-1))) names.pop();
  names = [...new Set([...names, ...used])];
  changed();
}

function changed() {
  storage()?.setItem(KEPT, JSON.stringify({
    edition: state.facts.edition, names, now: after[0],
    before: before.slice(-REMEMBERED), given: given.slice(-REMEMBERED),
    passed: [...passed].slice(-REMEMBERED),
  }));
  labelling.dispatchEvent(new Event("change"));
}

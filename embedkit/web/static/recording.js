// A whole recording: all of it at once, and a part of it from hours to a second. What is drawn over
// the part becomes a mark or a query.

import { addressOf, go, here, refer } from "./address.js";
import { askWhy, get, getNumbers, viewOf } from "./api.js";
import { onTheme } from "./colours.js";
import * as detecting from "./detecting.js";
import { drawLanes } from "./lanes.js";
import * as marks from "./marks.js";
import { longest as longestFirst, offerRecordings } from "./offers.js";
import { now, play, seek, toggle } from "./player.js";
import { markPlace } from "./playhead.js";
import { dayTime, drawHertz, drawTimes, timeText } from "./scale.js";
import { cardNamed, longest, say, state, trying } from "./state.js";

const OPENED_S = 30;  // of a recording, at first
const LEAST_S = 1;  // of the closest view
const LISTED = 1000;  // names to choose from
const QUERY = 20;  // segments, at most
const LOOKS = 1200;  // columns of a picture
const byId = (name) => document.getElementById(`recording-${name}`);
const [low, high, gain, speed, text, selected] =
  ["low", "high", "gain", "speed", "label", "selection"].map(byId);

let active = false;
let about;  // the recording that is open
let span;  // the part of it that is shown
let selection;  // a stretch of it
let scores;  // of its segments, label by label
let found;  // the promise of its detections
let asked = 0;
let drawing;

export function start() {
  const names = longestFirst().slice(0, LISTED).map((clip) => state.names[clip]);
  byId("names").append(...names.map((name) => new Option(name, name)));
  byId("longest").href = addressOf("recording", { sound: refer(cardNamed(names[0])) });
  byId("find").addEventListener("change", ({ target }) => {
    const card = cardNamed(target.value);
    if (card) go(addressOf("recording", { sound: refer(card) }));
    else say(`${target.value} is not in this collection.`);
  });
  const buttons = { play: hear, earlier: () => move(-0.5), later: () => move(0.5),
    in: () => zoom(0.5), out: () => zoom(2), previous: () => jump(-1), next: () => jump(1),
    no: () => give("-"), unsure: () => give("?"), like: query };
  for (const [name, work] of Object.entries(buttons)) byId(name).addEventListener("click", work);
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    give("+");
  });
  for (const field of [low, high]) field.addEventListener("change", drawPart);
  gain.addEventListener("input", () => { byId("gain-text").textContent = `${gain.value} dB`; });
  gain.addEventListener("change", drawPart);
  byId("overview").addEventListener("click", (event) => {
    showPart(shareOf(event) * about.duration_s, span.end_s - span.start_s);
  });
  choosing(byId("scene"));
  byId("scene").addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event));
  }, { passive: false });
  document.addEventListener("keydown", press, { capture: true });
  state.addEventListener("marks", drawMarks);
  state.addEventListener("detector", () => about && learn());
  state.addEventListener("player", drawPlaying);
  new ResizeObserver(() => about && span && active && drawScales()).observe(byId("scene"));
  onTheme(() => about && span && drawScales());
  markPlace(byId("head"), () => span && { ...span, clip: about.clip });
  return Promise.all([marks.load(), detecting.load()]);
}

export async function show(card) {
  active = true;
  if (!card) {
    if (!byId("empty").hidden) offerRecordings("recording");
    return;
  }
  const { wanted } = here();  // its very time, not that of the segment which is nearest
  const at = Number(wanted.get("sound").split("@").at(-1));
  const seconds = Number(wanted.get("seconds")) || OPENED_S;
  if (about?.clip !== card.clip && !await openClip(card)) return;
  showPart(Number.isFinite(at) ? at : card.start_s, seconds);
}

export const hide = () => { active = false; };

async function openClip(card) {
  byId("title").textContent = card.name;
  byId("about").textContent = "Loading …";
  byId("empty").hidden = byId("all").hidden = true;
  about = selection = found = scores = undefined;
  const mine = ++asked;
  const facts = await trying(() => get(`recording/${card.clip}`));
  if (mine !== asked) return false;  // another was opened meanwhile
  byId("about").textContent = facts ? "" : "This recording could not be read.";
  if (!facts) return false;
  about = facts;
  const { recorded_at, site, duration_s, rate } = about;
  const began = recorded_at && `${recorded_at.slice(0, 10)}, ${timeText(0, dayTime(recorded_at), 1)}`;
  byId("about").textContent =
    [began, site, timeText(duration_s), `${rate / 1000} kHz`].filter((each) => each).join(" · ");
  [low.value, high.value] = [0, rate / 2];
  low.max = high.max = rate / 2;
  const own = state.facts.hearing.speed;
  if (![...speed.options].some(({ value }) => Number(value) === own)) {
    speed.append(new Option(`× ${own}`, own));
  }
  speed.value = own;
  byId("all").hidden = false;
  const whole = { start_s: 0, end_s: duration_s };
  picture(byId("overview-picture"), viewOf({ clip: about.clip, ...whole,
    hearing: { low_hz: 0, high_hz: rate / 2 } }));
  byId("looks").textContent = duration_s > LOOKS / 10
    ? `A column of this picture stands for ${(duration_s / LOOKS).toFixed(1)} s, and shows a moment`
      + " in its middle; the lanes miss nothing." : "";
  learn();
  return true;
}

// What the detector says of the recording.
async function learn() {
  const { clip } = about;
  found = undefined;
  byId("previous").disabled = byId("next").disabled = !detecting.fitted().length;
  const there = detecting.fitted().length
    && await trying(() => getNumbers(`detector/scores/${clip}`, Float32Array));
  if (about?.clip !== clip) return;
  scores = there || undefined;
  if (span) drawScales();
}

// A time of the recording in the middle, and so many seconds about it.
function showPart(middle_s, seconds) {
  const length = Math.min(Math.max(seconds, LEAST_S * Math.min(1, state.facts.hearing.speed)),
    about.duration_s);
  const start_s = Math.min(Math.max(0, middle_s - length / 2), about.duration_s - length);
  span = { start_s, end_s: start_s + length };
  const sound = `${about.name}@${Number((start_s + length / 2).toFixed(3))}`;
  go(addressOf("recording", { sound, seconds: Number(length.toFixed(3)) }), { quietly: true });
  drawPart();
}

const middle = () => (span.start_s + span.end_s) / 2;
const move = (share) => showPart(middle() + share * (span.end_s - span.start_s), span.end_s - span.start_s);

function zoom(by, at_s = selection ? (selection.start_s + selection.end_s) / 2 : middle()) {
  const share = (at_s - span.start_s) / (span.end_s - span.start_s);
  const length = (span.end_s - span.start_s) * by;
  const inside = share >= 0 && share <= 1;
  showPart(inside ? at_s + (0.5 - share) * length : middle(), length);
}

const isWhole = () => Number(low.value) <= 0 && Number(high.value) >= about.rate / 2;

// How it is heard: the band alone where one is chosen.
function hearing() {
  const band = isWhole() ? {} : { low_hz: Number(low.value), high_hz: Number(high.value) };
  return { speed: Number(speed.value), gain_db: Number(gain.value), ...band };
}

const cardOf = ({ start_s, end_s }) => ({ ...cardNamed(about.name, start_s), start_s,
  end_s: Math.min(end_s, start_s + longest(Number(speed.value))), hearing: hearing() });

function picture(image, address) {
  image.onerror = () => askWhy(address).catch((error) => say(`${about.name}: ${error.message}`));
  image.onload = () => { image.dataset.shown = address; };
  image.src = address;
}

function drawPart() {
  const band = { low_hz: Number(low.value), high_hz: Number(high.value), gain_db: Number(gain.value) };
  clearTimeout(drawing);
  drawing = setTimeout(() => picture(byId("picture"),
    viewOf({ clip: about.clip, ...span, hearing: band })), 100);
  byId("scene").setAttribute("aria-label", `Spectrogram of ${about.name},`
    + ` ${timeText(span.start_s)} to ${timeText(span.end_s)}`);
  const place = byId("window");
  place.style.left = `${(100 * span.start_s) / about.duration_s}%`;
  place.style.width = `${(100 * (span.end_s - span.start_s)) / about.duration_s}%`;
  drawScales();
  drawMarks();
  drawSelection();
}

function drawScales() {
  const began = dayTime(about.recorded_at);
  const whole = { start_s: 0, end_s: about.duration_s };
  const first = state.clip.indexOf(about.clip);
  drawTimes(byId("hours"), whole, began);
  drawTimes(byId("times"), span, began);
  drawHertz(byId("hertz"), Number(low.value), Number(high.value));
  drawLanes(byId("lanes"), whole, first, scores);
  drawLanes(byId("near-lanes"), span, first, scores);
}

const timesOf = ({ start_s, end_s }) =>
  [start_s, end_s].map((at) => timeText(at, dayTime(about.recorded_at), 0.01)).join(" to ");

function drawMarks() {
  document.getElementById("mark-names").replaceChildren(
    ...marks.markLabels().map((name) => new Option(name, name)));
  if (!about || !span) return;
  const own = marks.marksOf(about.clip).toSorted((one, other) => one.start_s - other.start_s);
  byId("marks").replaceChildren(...own.filter(inView).map((mark) => {
    const made = document.createElement("span");
    made.className = "mark";
    made.dataset.sign = mark.sign;
    made.textContent = `${mark.label}${{ "-": " not", "?": "?" }[mark.sign] ?? ""}`;
    stand(made, mark);
    return made;
  }));
  byId("list").replaceChildren(...own.map((mark) => {
    const made = document.createElement("li");
    const said = { "+": "yes", "-": "no", "?": "unsure" }[mark.sign];
    made.append(action(`${timesOf(mark)} ${mark.label}: ${said}`, () => choose(mark, true)),
      action("Take away", () => trying(() => marks.mark(mark, mark.label, ""))));
    return made;
  }));
}

const inView = ({ start_s, end_s }) => end_s > span.start_s && start_s < span.end_s;

function action(name, work) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = name;
  made.addEventListener("click", work);
  return made;
}

function stand(element, { start_s, end_s }) {
  const length = span.end_s - span.start_s;
  element.style.left = `${(100 * (start_s - span.start_s)) / length}%`;
  element.style.width = `${(100 * (end_s - start_s)) / length}%`;
}

/** Chooses a stretch, with its label, and shows it if it is elsewhere. */
function choose(stretch, follow) {
  selection = { start_s: stretch.start_s, end_s: stretch.end_s };
  if (stretch.label) text.value = stretch.label;
  if (follow && (stretch.start_s < span.start_s || stretch.end_s > span.end_s)) {
    showPart((stretch.start_s + stretch.end_s) / 2, span.end_s - span.start_s);
  }
  drawSelection();
}

function drawSelection() {
  selected.hidden = !selection || !inView(selection);
  if (!selection) return;
  stand(selected, selection);
  const score = selection.score === undefined ? "" : `, ${selection.score.toFixed(2)}`;
  byId("selected").textContent = `${timesOf(selection)}${score}`;
}

const shareOf = ({ clientX, currentTarget }) => {
  const box = currentTarget.getBoundingClientRect();
  return Math.min(1, Math.max(0, (clientX - box.left) / box.width));
};
const timeAt = (event) => span.start_s + shareOf(event) * (span.end_s - span.start_s);

// A stretch is drawn with the pointer; a click plays from there.
function choosing(scene) {
  let from;
  scene.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = { at: timeAt(event), x: event.clientX };
    scene.setPointerCapture(event.pointerId);
  });
  scene.addEventListener("pointermove", (event) => {
    if (!from || Math.abs(event.clientX - from.x) < 4) return;
    const ends = [from.at, timeAt(event)].sort((one, other) => one - other);
    choose({ start_s: ends[0], end_s: ends[1] });
  });
  scene.addEventListener("pointerup", (event) => {
    if (from && Math.abs(event.clientX - from.x) < 4) {
      play(cardOf(span));
      seek(from.at, true);
    }
    from = undefined;
  });
}

// The stretch that is chosen, else what is shown.
function hear() {
  const wanted = cardOf(selection ?? span);
  const { card } = now();
  const same = card && ["clip", "start_s", "end_s"].every((key) => card[key] === wanted[key])
    && JSON.stringify(card.hearing) === JSON.stringify(wanted.hearing);
  if (same) toggle();
  else play(wanted);
}

function drawPlaying() {
  const { card, sounding } = now();
  byId("play").textContent = sounding && card?.clip === about?.clip ? "Pause" : "Play";
}

/** The detection before or after the stretch that is chosen, else the middle: of the label that is
 * written, if the detector knows it. */
async function jump(step) {
  if (!detecting.fitted().length) return;
  const mine = found ??= trying(() => detecting.along(about.clip));
  const all = await mine;
  if (!about || mine !== found) return;  // of another recording, or by other thresholds
  if (!all) found = undefined;  // to be asked for again
  else turn(all, step);
}

function turn(all, step) {
  const at = selection?.start_s ?? middle();
  const label = text.value.trim();
  const own = detecting.fitted().includes(label)
    ? all.filter((each) => each.label === label) : all;
  const ahead = own.filter(({ start_s }) => (step > 0 ? start_s > at : start_s < at));
  const next = ahead.at(step > 0 ? 0 : -1);
  const count = `${own.length} ${own.length === 1 ? "detection" : "detections"}`
    + `${own === all ? "" : ` of ${label}`}`;
  byId("place").textContent = next ? `${own.indexOf(next) + 1} of ${count}`
    : `No detection ${step > 0 ? "after" : "before"} this; ${count}`;
  if (!next) return;
  choose(next, true);
  selection.score = next.score;
  drawSelection();
  play(cardOf(selection));
}

function give(sign) {
  const label = text.value.trim();
  if (!selection || !label) {
    if (!selection) say("Choose a stretch first: draw over the picture.");
    else text.focus();
    return;
  }
  trying(() => marks.mark({ clip: about.clip, name: about.name, ...selection }, label, sign));
}

// By the segments whose middle lies in the stretch, or the one that is nearest to its own.
function query() {
  const { start_s, end_s } = selection ?? span;
  const first = state.clip.indexOf(about.clip);
  const like = new URLSearchParams();
  for (let row = first; state.clip[row] === about.clip; row++) {
    const [from, to] = [state.segments[3 * row + 1], state.segments[3 * row + 2]];
    const at = (from + to) / 2;
    if (at >= start_s && at <= end_s) like.append("like", refer({ name: about.name, start_s: from }));
  }
  const all = like.getAll("like");
  const step = Math.max(1, Math.ceil(all.length / QUERY));
  const some = all.filter((_, index) => index % step === 0);
  const length = end_s - start_s;
  const nearest = refer(cardNamed(about.name, Math.max(0, start_s + length / 2
    - state.facts.segment_s / 2)));
  go(addressOf("search", (some.length ? some : [nearest]).map((each) => ["like", each])));
}

const KEYS = {
  ArrowLeft: () => move(-0.5), ArrowRight: () => move(0.5), "+": () => zoom(0.5),
  "=": () => zoom(0.5), "-": () => zoom(2), ",": () => jump(-1), ".": () => jump(1),
  " ": hear, e: () => text.select(),
};

function press(event) {
  if (!active || !about || event.ctrlKey || event.metaKey || event.altKey
    || document.querySelector(":popover-open")) return;
  const { key, target } = event;
  if (target.closest("input, select, textarea")) return;
  if (target.closest("[role=tab]") && key.startsWith("Arrow")) return;
  if (key === " " && target.closest("button, a, summary")) return;
  const sign = marks.signOf(key);
  const work = sign ? () => give(sign) : KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (!work) return;
  event.preventDefault();
  work();
}

// The one player: whatever sounds, sounds here. Of a list of cards one plays, as the second that the
// card names or as the whole clip.

import { askWhy, audioOf } from "./api.js";
import { longest, say, state } from "./state.js";
import { clock } from "./times.js";

const REPLAYS_S = 0.2;  // this close to its end, a sound begins anew

const audio = document.getElementById("player");
const byId = (name) => document.getElementById(`player-${name}`);
const place = byId("place");
const modes = { second: byId("second"), whole: byId("whole") };

let list = [];
let index = 0;
let whole = false;
let part;  // the stretch of the clip that the browser has

/** Plays a card, or one of a list, along which `step` goes. */
export function play(cards, at = 0) {
  list = [cards].flat();
  index = at;
  load(span().first_s);
}

/** Says how sounds are heard, where that is not as they were recorded. */
export function start() {
  const { band, speed: fast } = state.facts.hearing;
  const factor = (value) => Number(value.toFixed(2)).toLocaleString();
  const changes = fast < 1 ? [`${factor(1 / fast)} times slower`]
    : fast > 1 ? [`${factor(fast)} times faster`] : [];
  if (band) changes.push(`${band.replace("-", " to ")} Hz alone`);
  byId("hearing").textContent = changes.length ? `Heard ${changes.join(", ")}` : "";
  byId("hearing").hidden = !changes.length;
}

/** Silence, and back to the beginning. */
export function stop() {
  audio.pause();
  if (part) seek(span().first_s, false);
  tell();
}

/** Goes on, or pauses. */
export function toggle() {
  if (!part) return;
  if (!audio.paused) audio.pause();
  else if (at() > span().end_s - REPLAYS_S * speed()) seek(span().first_s, true);
  else sound();
}

/** Plays the next card of the list, or with -1 the one before; false: there is none. */
export function step(by) {
  const there = index + by in list;
  if (there) play(list, index + by);
  return there;
}

/** What plays or played last, where it is, and whether it sounds. */
export const now = () => ({ card: list[index], at_s: at(), sounding: Boolean(part) && !audio.paused });

// How often as fast as it was recorded it is heard; all times are those of the recording.
const speed = () => list[index]?.hearing?.speed ?? state.facts.hearing.speed;

const at = () => (part ? part.start_s + audio.currentTime * speed() : 0);

// Where the sound begins and ends, and where it is played from: of a long recording its second.
function span() {
  const { clip, start_s, end_s } = list[index];
  if (!whole) return { start_s, end_s, first_s: start_s };
  const length_s = Math.max(state.seconds[clip], end_s);
  return { start_s: 0, end_s: length_s, first_s: length_s > longest(speed()) ? start_s : 0 };
}

// A long recording comes in stretches, one after the other.
function load(from_s, sounding = true) {
  const { start_s, end_s } = span();
  const most = longest(speed());
  const start = start_s + Math.floor((from_s - start_s) / most) * most;
  part = { ...list[index], start_s: start, end_s: Math.min(start + most, end_s) };
  audio.src = audioOf(part);
  audio.currentTime = (from_s - start) / speed();
  if (sounding) sound();
  draw();
}

/** Goes to a time of the clip that plays. */
export function seek(to_s, sounding) {
  if (to_s < part.start_s || to_s >= part.end_s) {
    load(to_s, sounding);
    return;
  }
  audio.currentTime = (to_s - part.start_s) / speed();
  move();
  if (sounding && audio.paused) sound();
}

function sound() {
  const { name } = list[index];
  const source = part;
  audio.play().catch(async (error) => {
    if (error.name === "AbortError") return;  // another one plays
    const reason = await askWhy(audioOf(source)).then(() => error, (refused) => refused);
    say(`${name} cannot be played: ${reason.message}`);
  });
}

function draw() {
  const card = list[index];
  const { start_s, end_s } = span();
  byId("name").textContent = card.name;
  byId("name").title = card.name;
  place.min = start_s;
  place.max = end_s;
  byId("end").textContent = clock(end_s);
  for (const control of document.querySelectorAll("#player-bar :disabled")) control.disabled = false;
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === list.length - 1;
  for (const [mode, control] of Object.entries(modes)) {
    control.setAttribute("aria-pressed", whole === (mode === "whole"));
  }
  move();
  tell();
}

function move() {
  place.value = at();
  place.setAttribute("aria-valuetext", `${clock(at())} of ${clock(span().end_s)}`);
  byId("at").textContent = clock(at());
}

// Views that mark what sounds listen for this.
function tell() {
  const { card, sounding } = now();
  byId("toggle").setAttribute("aria-label", sounding ? "Pause" : "Play");
  byId("toggle").firstElementChild.firstElementChild
    .setAttribute("href", `icons.svg#${sounding ? "pause" : "play"}`);
  state.dispatchEvent(new CustomEvent("player", { detail: { card, sounding } }));
}

function choose(mode) {
  const from_s = at();
  whole = mode === "whole";
  if (!part) return;
  const { start_s, end_s, first_s } = span();
  load(from_s > start_s && from_s < end_s ? from_s : first_s, !audio.paused);
}

const KEYS = {
  " ": toggle, Escape: stop, j: () => step(1), k: () => step(-1),
  w: () => choose(whole ? "second" : "whole"),
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const typing = target.closest("input:not([type=range], [type=checkbox], [type=radio]), select, textarea");
  const taken = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey
    || typing || (key === " " && target.closest("button, summary, input")) || !list.length
    || (key === "Escape" && document.querySelector(":popover-open"));
  if (taken || !KEYS[key]) return;
  event.preventDefault();
  KEYS[key]();
});

byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("toggle").addEventListener("click", toggle);
byId("stop").addEventListener("click", stop);
for (const [mode, control] of Object.entries(modes)) {
  control.addEventListener("click", () => choose(mode));
}
place.addEventListener("input", () => seek(Number(place.value), false));

for (const event of ["play", "pause"]) audio.addEventListener(event, tell);
audio.addEventListener("timeupdate", () => part && move());
audio.addEventListener("ended", () => {
  if (part.end_s < span().end_s) load(part.end_s);
  else tell();
});
for (const [event, busy] of [["waiting", true], ["loadstart", true], ["playing", false],
  ["canplay", false], ["error", false]]) {
  audio.addEventListener(event, () => byId("bar").setAttribute("aria-busy", busy));
}

// The keys of a keyboard or a headset.
const session = navigator.mediaSession;
session?.setActionHandler("previoustrack", () => step(-1));
session?.setActionHandler("nexttrack", () => step(1));
session?.setActionHandler("stop", stop);

// Of several pages one sounds.
const others = new BroadcastChannel("embedkit-player");
audio.addEventListener("play", () => others.postMessage("plays"));
others.addEventListener("message", () => audio.pause());

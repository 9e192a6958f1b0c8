// A whole clip: its waveform, spectrogram and segments, and its neighbours elsewhere.

import WaveSurfer from "./vendor/wavesurfer-8.0.1.esm.js";
import { get, post } from "./api.js";
import { bestOf, button, play, showCards, showPicture, time } from "./cards.js";
import { onTheme } from "./colours.js";
import { catchFocus } from "./focus.js";
import { take } from "./labelling.js";
import { offerSounds } from "./offers.js";
import { now, seek, toggle } from "./player.js";
import { markPlace } from "./playhead.js";
import { drawScores } from "./scores.js";
import { labelOf, longest, open, state, trying, wholeOf } from "./state.js";

const byId = (name) => document.getElementById(`listen-${name}`);
const [title, segments] = ["title", "segments"].map(byId);

let wave;
let shown;  // the stretch of a clip that is open
let stretch;  // the same as a card, to play
let asked = 0;
let searched = 0;

// The stretch before or after the one that is open.
const turned = (step) => ({ ...stretch, row: undefined, start_s: shown.start_s + step * longest() });

export function start() {
  byId("play").addEventListener("click", playAll);
  byId("any").addEventListener("click", () =>
    open("listen", wholeOf(Math.floor(Math.random() * state.names.length))));
  byId("earlier").addEventListener("click", () => show(turned(-1)));
  byId("later").addEventListener("click", () => show(turned(1)));
  byId("label").addEventListener("click", () => {
    take(shown.clip);
    open("label");
  });
  segments.addEventListener("keydown", along);
  state.addEventListener("player", drawPlaying);
  onTheme(() => shown && relearn());  // each theme has its own colours
  for (const name of ["wave", "picture"]) {
    byId(name).parentElement.addEventListener("click", (event) => playFrom(name, event));
    markPlace(byId(`${name}-head`), () => shown);
  }
}

export async function show(card) {
  if (!card) {
    if (shown) await relearn();
    else if (!byId("empty").hidden) offerSounds("listen");
    return;
  }
  const mine = ++asked;
  const from = Math.floor(card.start_s / longest()) * longest();
  clear(card);
  const found = await trying(() => get(`clip/${card.clip}?start_s=${from}`));
  if (mine !== asked) return;  // another was opened meanwhile
  byId("loading").hidden = Boolean(found);
  if (!found) {
    byId("loading").textContent = "This sound could not be read.";
    return;
  }
  draw(found);
  if (document.activeElement === title) title.blur();
  catchFocus(byId("play"));
  const segment = found.segments.find(({ row }) => row === card.row) ?? found.segments[0];
  if (segment) await near(segment);
}

// Of the sound before nothing stays under the name of this one.
function clear(card) {
  shown = undefined;
  searched++;
  title.textContent = card.name;
  byId("loading").textContent = "Loading …";
  byId("loading").hidden = false;
  byId("empty").hidden = byId("clip").hidden = true;
  wave?.destroy();
  wave = undefined;
  for (const name of ["picture", "segments", "near"]) byId(name).replaceChildren();
  catchFocus(title);
}

function draw(found) {
  shown = found;
  const { clip, name, start_s, end_s, duration_s } = found;
  stretch = { row: found.segments[0]?.row, clip, name, start_s, end_s };
  byId("clip").hidden = false;
  const part = duration_s > longest() ? `${time(start_s)} to ${time(end_s)} of ` : "";
  byId("time").textContent = `${part}${time(duration_s)}`;
  byId("earlier").hidden = byId("later").hidden = !part;
  byId("earlier").disabled = start_s === 0;
  byId("later").disabled = end_s >= duration_s;
  wave = WaveSurfer.create({
    container: byId("wave"), height: 96, peaks: [found.peaks], duration: end_s - start_s,
    waveColor: "#4a9cc0", cursorWidth: 0, interact: false, normalize: true,
  });
  const picture = new Image();
  byId("picture").replaceChildren(picture);
  showPicture(picture, found);
  segments.replaceChildren(...found.segments.map((segment, index) => {
    const made = button(`${Number(segment.start_s.toFixed(2))}`, () => { play(segment); near(segment); },
      `${time(segment.start_s)} to ${time(segment.end_s)}: play, and find its neighbours`);
    made.tabIndex = index ? -1 : 0;
    const end = found.segments[index + 1]?.start_s ?? end_s;
    made.style.flexGrow = Math.max(end - segment.start_s, 0);
    return made;
  }));
  drawLearned(found);
  drawPlaying();
}

function drawLearned({ clip, labels, scores }) {
  byId("given").textContent = labelOf(clip);
  byId("given").hidden = !labelOf(clip);
  byId("unscored").hidden = labels.length > 0;
  byId("chart").hidden = !labels.length;
  drawScores(byId("scores"), byId("legend"), shown, labels, scores);
}

// The scores of the labels as they are by now.
async function relearn() {
  const { clip, start_s } = shown;
  const found = await trying(() => get(`clip/${clip}?start_s=${start_s}`));
  if (found && shown?.clip === clip && shown.start_s === start_s) drawLearned(found);
}

async function near(segment) {
  const mine = ++searched;
  for (const made of segments.children) made.removeAttribute("aria-current");
  const place = shown.segments.findIndex(({ row }) => row === segment.row);
  segments.children[place]?.setAttribute("aria-current", "true");
  byId("near-title").textContent = `Nearest to ${time(segment.start_s)} in other sounds`;
  const query = { like: [segment.row], top: 12, elsewhere: true };
  const answer = await trying(() => post("search", query));
  if (answer && mine === searched) showCards(byId("near"), bestOf(answer.found));
}

function playAll() {
  if (now().card === stretch) toggle();
  else play(stretch);
}

function playFrom(name, event) {
  const box = byId(name).getBoundingClientRect();
  const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  if (now().card !== stretch) play(stretch);
  seek(shown.start_s + share * (shown.end_s - shown.start_s), true);
}

function drawPlaying() {
  const { card, sounding } = now();
  byId("play").textContent = sounding && card === stretch ? "Pause" : "Play";
}

// The arrow keys go along the segments, which are one stop of the Tab key.
function along(event) {
  const all = [...segments.children];
  const at = all.indexOf(event.target);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined || at < 0) return;
  event.preventDefault();
  if (!all[to]) return;
  all[at].tabIndex = -1;
  all[to].tabIndex = 0;
  all[to].focus();
  play(shown.segments[to]);
}

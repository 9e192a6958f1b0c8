// A whole clip: its waveform, spectrogram and segments, and its neighbours elsewhere.

import WaveSurfer from "./vendor/wavesurfer-8.0.1.esm.js";
import { askWhy, audioOf, get, post } from "./api.js";
import { bestOf, button, play, showCards, showPicture, time } from "./cards.js";
import { colourNames, legend } from "./colours.js";
import { trying } from "./state.js";

const LONGEST_S = 120;  // of what the server gives at once
const SVG = "http://www.w3.org/2000/svg";
const byId = (name) => document.getElementById(`listen-${name}`);

let wave;
let shown;  // the stretch of a clip that is open
let asked = 0;
let searched = 0;

// The stretch before or after the one that is open.
const turned = (step) => ({ clip: shown.clip, start_s: shown.start_s + step * LONGEST_S });

export function start() {
  byId("play").addEventListener("click", () => wave?.playPause());
  byId("earlier").addEventListener("click", () => show(turned(-1)));
  byId("later").addEventListener("click", () => show(turned(1)));
}

export async function show(card) {
  if (!card) return;
  const mine = ++asked;
  const from = Math.floor(card.start_s / LONGEST_S) * LONGEST_S;
  const found = await trying(() => get(`clip/${card.clip}?start_s=${from}`));
  if (!found || mine !== asked) return;  // another was opened meanwhile
  shown = found;
  byId("title").textContent = found.name;
  byId("clip").hidden = false;
  const part = found.duration_s > LONGEST_S ? `${time(found.start_s)} to ${time(found.end_s)} of ` : "";
  byId("time").textContent = `${part}${time(found.duration_s)}`;
  byId("earlier").hidden = byId("later").hidden = !part;
  byId("earlier").disabled = found.start_s === 0;
  byId("later").disabled = found.end_s >= found.duration_s;
  wave?.destroy();
  wave = WaveSurfer.create({
    container: byId("wave"), height: 96, url: audioOf(shown), peaks: [found.peaks],
    duration: found.end_s - found.start_s, waveColor: "#4a9cc0", progressColor: "#0b6e99",
    normalize: true,
  });
  wave.on("play", () => { byId("play").textContent = "Pause"; });
  wave.on("pause", () => { byId("play").textContent = "Play"; });
  wave.on("error", () => trying(() => askWhy(audioOf(found))));
  showPicture(byId("spectrogram"), shown);
  const near = async (segment) => {
    const number = ++searched;
    const query = { like: [segment.row], top: 12, elsewhere: true };
    const near = await trying(() => post("search", query));
    if (near && number === searched) showCards(byId("near"), bestOf(near.found));
  };
  byId("segments").replaceChildren(...found.segments.map((segment) =>
    button(`${Number(segment.start_s.toFixed(2))}`, () => { play(segment); near(segment); },
      `${time(segment.start_s)} to ${time(segment.end_s)}: play, and find its neighbours`)));
  drawScores(found);
  const [first] = found.segments;
  if (first) await near(found.segments.find((segment) => segment.row === card.row) ?? first);
}

// A line for each of the labels that score highest somewhere.
function drawScores({ labels, scores }) {
  const svg = byId("scores");
  svg.hidden = !labels.length;
  svg.replaceChildren();
  if (!labels.length) {
    legend(byId("legend"), new Map());
    return;
  }
  const tops = scores.map((row) => labels[row.indexOf(Math.max(...row))]);
  const colours = colourNames(tops);
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  for (const [label, colour] of colours) {
    const column = labels.indexOf(label);
    const line = document.createElementNS(SVG, "polyline");
    const points = scores.flatMap((row, index) => {
      const y = 100 - 100 * row[column];
      return [`${(100 * index) / scores.length},${y}`, `${(100 * (index + 1)) / scores.length},${y}`];
    });
    const looks = { points: points.join(" "), fill: "none", stroke: `rgb(${colour})`,
      "stroke-width": 2, "vector-effect": "non-scaling-stroke" };
    for (const [key, value] of Object.entries(looks)) line.setAttribute(key, value);
    svg.append(line);
  }
  legend(byId("legend"), colours);
}

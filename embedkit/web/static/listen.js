// A whole clip: its waveform, spectrogram and segments, and its neighbours elsewhere.

import WaveSurfer from "./vendor/wavesurfer-8.0.1.esm.js";
import { audioOf, get, pictureOf, post } from "./api.js";
import { button, play, showCards, time } from "./cards.js";
import { colourNames, legend } from "./colours.js";
import { trying } from "./state.js";

const LONGEST_S = 120;  // of what the server gives at once
const SVG = "http://www.w3.org/2000/svg";
const byId = (name) => document.getElementById(`listen-${name}`);

let wave;

export function start() {
  byId("play").addEventListener("click", () => wave?.playPause());
}

export async function show(card) {
  if (!card) return;
  const found = await trying(() => get(`/api/clip/${card.clip}`));
  if (!found) return;
  byId("title").textContent = found.name;
  byId("clip").hidden = false;
  const shown = { clip: found.clip, start_s: 0, end_s: Math.min(found.duration_s, LONGEST_S) };
  const heard = found.duration_s > LONGEST_S ? `, the first ${LONGEST_S} s of it here` : "";
  byId("time").textContent = `${time(found.duration_s)}${heard}`;
  wave?.destroy();
  const part = Math.ceil(found.peaks.length * (shown.end_s / Math.max(found.duration_s, 1e-9)));
  wave = WaveSurfer.create({
    container: byId("wave"), height: 96, url: audioOf(shown), duration: shown.end_s,
    peaks: [found.peaks.slice(0, part)], waveColor: "#4a9cc0", progressColor: "#0b6e99",
    normalize: true,
  });
  wave.on("play", () => { byId("play").textContent = "Pause"; });
  wave.on("pause", () => { byId("play").textContent = "Play"; });
  byId("spectrogram").src = pictureOf(shown);
  byId("spectrogram").alt = `Spectrogram of ${found.name}`;
  const near = async (segment) => {
    const cards = await trying(() => post("/api/search", { like: [segment.row], top: 60 }));
    if (cards) showCards(byId("near"), cards.filter((each) => each.clip !== found.clip).slice(0, 12));
  };
  byId("segments").replaceChildren(...found.segments.slice(0, 240).map((segment, index) =>
    button(`${index}`, () => { play(segment); near(segment); },
      `${time(segment.start_s)} to ${time(segment.end_s)}: play, and find its neighbours`)));
  drawScores(found);
  await near(found.segments.find((segment) => segment.row === card.row) ?? found.segments[0]);
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

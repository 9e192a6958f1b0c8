// Lanes: how each label scores over a span, the highest score of each pixel.

import { fitted, thresholdOf } from "./detecting.js";
import { state } from "./state.js";

const HEIGHT = 22;
const BELOW = 0.3;  // how much is seen of what is not enough

/** Draws a lane of each fitted label; `scores` are of the segments of a clip, label by label. */
export function drawLanes(place, { start_s, end_s }, first, scores) {
  const labels = scores ? fitted() : [];
  place.replaceChildren(...labels.map((label, column) => {
    const lane = document.createElement("div");
    lane.className = "lane";
    lane.dataset.label = label;
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    const name = document.createElement("span");
    name.textContent = label;
    lane.append(name, canvas);
    requestAnimationFrame(() => draw(canvas, peaks(canvas, column)));
    return lane;

    function peaks({ clientWidth }, column) {
      const tops = new Float32Array(Math.max(1, clientWidth));
      const across = (seconds) => ((seconds - start_s) / (end_s - start_s)) * tops.length;
      for (let index = 0; index < scores.length / labels.length; index++) {
        const row = 3 * (first + index);
        const from = Math.max(0, Math.floor(across(state.segments[row + 1])));
        const to = Math.min(tops.length, Math.ceil(across(state.segments[row + 2])));
        const score = scores[index * labels.length + column];
        for (let at = from; at < to; at++) tops[at] = Math.max(tops[at], score);
      }
      return { tops, enough: thresholdOf(label) };
    }
  }));
}

function draw(canvas, { tops, enough }) {
  canvas.width = tops.length;
  canvas.height = HEIGHT;
  const paint = canvas.getContext("2d");
  paint.fillStyle = getComputedStyle(canvas).color;
  tops.forEach((score, at) => {
    paint.globalAlpha = score >= enough ? 1 : BELOW;
    paint.fillRect(at, HEIGHT * (1 - score), 1, HEIGHT * score);
  });
  paint.globalAlpha = BELOW;
  paint.fillRect(0, HEIGHT * (1 - enough), tops.length, 1);
}

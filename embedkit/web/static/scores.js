// How surely each label is heard, over time.

import { colourNames, legend } from "./colours.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const HEIGHT = 100;

/** A line for each of the labels that score highest somewhere in a stretch. */
export function drawScores(svg, list, { start_s, end_s, segments }, labels, scores) {
  svg.replaceChildren();
  const tops = scores.map((row) => labels[row.indexOf(Math.max(...row))]);
  const colours = colourNames(tops);
  legend(list, colours);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const across = (seconds) => (WIDTH * (seconds - start_s)) / (end_s - start_s);
  for (const [label, colour] of colours) {
    const column = labels.indexOf(label);
    const points = scores.flatMap((row, index) => {
      const { start_s: from, end_s: to } = segments[index];
      const y = HEIGHT * (1 - row[column]);
      return [[across(from), y], [across(Math.min(to, segments[index + 1]?.start_s ?? to)), y]];
    });
    const line = document.createElementNS(SVG, "polyline");
    const looks = { points: points.map(String).join(" "), fill: "none", stroke: `rgb(${colour})`,
      "stroke-width": 2, "vector-effect": "non-scaling-stroke" };
    for (const [key, value] of Object.entries(looks)) line.setAttribute(key, value);
    svg.append(line);
  }
}

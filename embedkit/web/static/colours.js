// Colours and shapes of names: apart from each other, and the same each time. Each colour stands out
// from the ground by 3:1 at least, on the densest part of the map too; so each theme has its own.

import { SHAPES } from "./shapes.js";

const LIGHT = [
  [4, 121, 178], [182, 78, 16], [4, 136, 77], [175, 70, 126], [114, 94, 194], [143, 107, 9],
  [14, 110, 114], [165, 51, 50], [71, 110, 4], [132, 62, 148], [53, 90, 180], [136, 82, 12],
];
const DARK = [
  [64, 181, 252], [247, 137, 85], [75, 198, 128], [240, 128, 184], [170, 154, 252], [214, 162, 10],
  [12, 215, 224], [253, 161, 154], [157, 209, 99], [232, 156, 249], [158, 189, 255], [253, 168, 77],
];
const MANY = LIGHT.length;
const inDark = () => matchMedia("(prefers-color-scheme: dark)");
const dark = inDark();
const changing = inDark();  // of its own: to read whether one matches takes the event of its change away

export const none = () => (dark.matches ? [140, 148, 156] : [118, 126, 134]);
export const ring = () => (dark.matches ? [255, 255, 255, 255] : [20, 22, 26, 255]);
export const onTheme = (repaint) => changing.addEventListener("change", repaint);

/** The most frequent names, and how many have each. */
export function ranked(names) {
  const counts = new Map();
  for (const name of names) if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, MANY);
}

// The most frequent names get the colours; the rest share one.
export const colourNames = (names) =>
  new Map(ranked(names).map(([name], index) => [name, (dark.matches ? DARK : LIGHT)[index]]));

/** Four shapes and twelve colours: of names that follow each other both differ. */
export const shapeAt = (index) => index % SHAPES.length;

export function legend(list, colours) {
  list.replaceChildren(...[...colours].map(([name, colour]) => {
    const item = document.createElement("li");
    item.append(markOf(colour, 0), name);
    return item;
  }));
}

const SVG = "http://www.w3.org/2000/svg";

export function markOf(colour, shape) {
  const svg = document.createElementNS(SVG, "svg");
  const mark = document.createElementNS(SVG, "path");
  mark.setAttribute("d", SHAPES[shape].path);
  mark.setAttribute("fill", `rgb(${colour})`);
  svg.setAttribute("viewBox", "-7 -7 14 14");
  svg.setAttribute("aria-hidden", "true");
  svg.append(mark);
  return svg;
}

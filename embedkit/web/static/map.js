// The collection on a plane: every segment a point.

import { getNumbers } from "./api.js";
import { play, showCards } from "./cards.js";
import { NONE, colourNames, legend } from "./colours.js";
import { cardOf, say, state, trying } from "./state.js";

const SHOWN = 30;  // cards
const RING = [220, 50, 47, 255];
const place = document.getElementById("map-place");
const canvas = document.getElementById("map-lasso-line");
const colourBy = document.getElementById("map-colour");
const find = document.getElementById("map-find");
const lassoButton = document.getElementById("map-lasso");
const hover = document.getElementById("map-hover");
const chosenTitle = document.getElementById("map-chosen-title");
const chosenCards = document.getElementById("map-chosen");

let plot;
let chosen = [];
let clusters;

export async function start() {
  colourBy.value = state.folders.some((folder) => folder) ? "folder" : "cluster";
  const names = document.getElementById("names");
  names.append(...state.names.slice(0, 5000).map((name) => new Option(name, name)));
  const drawn = document.createElement("canvas").getContext("webgl2") ? "gl" : "canvas";
  const { makePlot } = await import(`./plot_${drawn}.js`);
  plot = makePlot(place, {
    onHover: (row) => { hover.textContent = row >= 0 ? cardOf(row).name : ""; },
    onClick: (row) => choose([row], true),
  });
  place.plot = plot;  // for tests and for the curious
  colourBy.addEventListener("change", () => trying(paint));
  state.addEventListener("labels", () => colourBy.value === "label" && trying(paint));
  document.getElementById("map-home").addEventListener("click", () => {
    plot.home();
    focus();
  });
  find.addEventListener("change", search);
  find.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    focus();  // where the arrow keys go on; what was typed counts as it is left
  });
  lassoButton.addEventListener("click", () => {
    const drawing = canvas.classList.toggle("drawing");
    lassoButton.setAttribute("aria-pressed", drawing);
  });
  place.addEventListener("keydown", walk, { capture: true });  // before deck.gl pans
  lasso();
  await paint();
}

const focus = () =>
  place.querySelector("canvas:not(#map-lasso-line)")?.focus({ preventScroll: true });

// The sound of a name, or all whose names hold it.
function search() {
  const wanted = find.value.trim().toLowerCase();
  if (!wanted) return;
  const exact = state.names.indexOf(find.value.trim());
  const clips = exact >= 0 ? [exact]
    : [...state.names.keys()].filter((clip) => state.names[clip].toLowerCase().includes(wanted));
  say(clips.length ? "" : `No sound has ${find.value.trim()} in its name.`);
  const first = new Map();
  const there = new Set(clips);
  state.clip.forEach((clip, row) => there.has(clip) && !first.has(clip) && first.set(clip, row));
  if (clips.length) choose([...first.values()], true);
}

async function paint() {
  let named;
  if (colourBy.value === "cluster") {
    clusters ??= await getNumbers("clusters", Int32Array);
    named = (row) => `cluster ${clusters[row] + 1}`;
  } else if (colourBy.value === "label") {
    named = (row) => state.labels[state.names[state.clip[row]]] ?? "";
  } else {
    named = (row) => state.folders[state.clip[row]];
  }
  const names = Array.from({ length: state.count }, (_, row) => named(row));
  const known = colourNames(names);
  const colours = new Uint8Array(4 * state.count);
  names.forEach((name, row) => colours.set([...(known.get(name) ?? NONE), 190], 4 * row));
  const others = names.some((name) => !known.has(name));
  legend(document.getElementById("map-legend"), known, others ? "other" : "");
  plot.paint(state.points, colours);
  draw();
}

function draw() {
  const radius = Math.max(1.5, 6 - Math.log10(state.count));
  const few = chosen.length <= 100;
  plot.choose(chosen, RING, { radius, ringRadius: radius + (few ? 4 : 1.5), line: few ? 2 : 1 });
}

export function choose(rows, sounding = false) {
  chosen = rows;
  const first = new Map();  // row of each sound
  for (const row of rows) if (!first.has(state.clip[row])) first.set(state.clip[row], row);
  const cards = [...first.values()].slice(0, SHOWN).map(cardOf);
  const part = first.size > SHOWN ? `, of which ${SHOWN} are shown` : "";
  chosenTitle.hidden = !rows.length;
  chosenTitle.textContent =
    rows.length === 1 ? "Chosen" : `${first.size.toLocaleString()} sounds${part}`;
  showCards(chosenCards, cards);
  if (sounding && rows.length) play(cards[0]);
  draw();
}

// The arrow keys go from the chosen point to the nearest one in their direction.
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function walk(event) {
  const direction = DIRECTIONS[event.key];
  if (!direction) return;
  event.preventDefault();
  event.stopPropagation();
  const at = (row) => [state.points[2 * row], state.points[2 * row + 1]];
  const [fromX, fromY] = chosen.length ? at(chosen[0]) : [0, 0];
  let nearest = -1;
  let least = Infinity;
  for (let row = 0; row < state.count; row++) {
    const [x, y] = at(row);
    const ahead = (x - fromX) * direction[0] + (y - fromY) * direction[1];
    const away = Math.hypot(x - fromX, y - fromY);
    if (ahead > away * Math.SQRT1_2 && away < least) [nearest, least] = [row, away];
  }
  if (nearest < 0) return;
  choose([nearest], true);
  const [x, y] = plot.project(at(nearest));
  if (x < 0 || y < 0 || x > place.clientWidth || y > place.clientHeight) plot.centre(at(nearest));
}

// Freehand, with the pointer down: the points inside are chosen.
function lasso() {
  const context = canvas.getContext("2d");
  let path = [];
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.width = canvas.clientWidth;
    canvas.height = canvas.clientHeight;
    canvas.setPointerCapture(event.pointerId);
    path = [at(event)];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!path.length) return;
    path.push(at(event));
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = "rgb(220, 50, 47)";
    context.beginPath();
    path.forEach(([x, y]) => context.lineTo(x, y));
    context.closePath();
    context.stroke();
  });
  canvas.addEventListener("pointerup", () => {
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (path.length > 2) choose(inside(path));
    focus();
    path = [];
  });
}

function inside(path) {
  const outline = new Path2D();
  path.forEach(([x, y]) => outline.lineTo(x, y));
  outline.closePath();
  const context = canvas.getContext("2d");
  const rows = [];
  for (let row = 0; row < state.count; row++) {
    const [x, y] = plot.project([state.points[2 * row], state.points[2 * row + 1]]);
    if (context.isPointInPath(outline, x, y)) rows.push(row);
  }
  return rows;
}

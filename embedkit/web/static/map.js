// The collection on a plane: every segment a point, drawn by WebGL.

import { getNumbers } from "./api.js";
import { play, showCards } from "./cards.js";
import { NONE, colourNames, legend } from "./colours.js";
import { PointsLayer } from "./points.js";
import { cardOf, state, trying } from "./state.js";

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
let points;  // made anew only when the colours change: deck.gl then keeps its buffers
let chosen = [];
let clusters;

export async function start() {
  colourBy.value = state.folders.some((folder) => folder) ? "folder" : "cluster";
  const names = document.getElementById("names");
  names.append(...state.names.slice(0, 5000).map((name) => new Option(name, name)));
  plot = new deck.Deck({
    parent: place,
    deviceProps: { webgl: { antialias: false } },  // the points smooth their edges themselves
    views: new deck.OrthographicView({ flipY: false }),
    initialViewState: home(),
    controller: { doubleClickZoom: false },
    onResize: () => plot?.setProps({ initialViewState: home() }),
    pickingRadius: 4,
    getCursor: ({ isHovering }) => (isHovering ? "pointer" : "grab"),
    onHover: ({ index }) => {
      hover.textContent = index >= 0 ? cardOf(index).name : "";
    },
    onClick: ({ index }) => {
      if (index >= 0) choose([index], true);
    },
  });
  // Handles for tests and for the curious.
  place.plot = plot;
  colourBy.addEventListener("change", () => trying(paint));
  state.addEventListener("labels", () => colourBy.value === "label" && trying(paint));
  document.getElementById("map-home").addEventListener("click", () =>
    plot.setProps({ initialViewState: home() }));
  find.addEventListener("change", () => {
    const clip = state.names.indexOf(find.value);
    if (clip >= 0) choose([state.clip.indexOf(clip)], true);
  });
  lassoButton.addEventListener("click", () => {
    const drawing = canvas.classList.toggle("drawing");
    lassoButton.setAttribute("aria-pressed", drawing);
  });
  place.addEventListener("keydown", walk, { capture: true });  // before deck.gl pans
  lasso();
  await paint();
}

const home = () => ({
  target: [0, 0, 0],
  zoom: Math.log2(Math.max(100, Math.min(place.clientWidth, place.clientHeight)) / 2.3),
  minZoom: 4, maxZoom: 16,
  revision: performance.now(),  // a new object each time: it is set again
});

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
  points = pointsOf(state.points, colours);
  draw();
}

function draw() {
  const radius = Math.max(1.5, 6 - Math.log10(state.count));
  const few = chosen.length <= 100;
  plot.setProps({
    layers: [
      new PointsLayer({ id: "points", data: points, radius, pickable: true }),
      new PointsLayer({
        id: "chosen",
        data: pointsOf(
          Float32Array.from(chosen.flatMap((row) => [...state.points.subarray(2 * row, 2 * row + 2)])),
          new Uint8Array(4 * chosen.length).map((_, place) => RING[place % 4]),
        ),
        radius: radius + (few ? 4 : 1.5),
        line: few ? 2 : 1,
      }),
    ],
  });
}

const pointsOf = (places, colours) => ({
  length: colours.length / 4,
  attributes: {
    getPosition: { value: places, size: 2 },
    getFillColor: { value: colours, size: 4, normalized: true },
  },
});

export function choose(rows, sounding = false) {
  chosen = rows;
  chosenTitle.textContent = rows.length === 1 ? "" : `${rows.length.toLocaleString()} segments`;
  showCards(chosenCards, rows.slice(0, 30).map(cardOf));
  if (sounding && rows.length) play(cardOf(rows[0]));
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
  const [view] = plot.getViewports();
  const [x, y] = view.project(at(nearest));
  if (x < 0 || y < 0 || x > view.width || y > view.height) {
    plot.setProps({ initialViewState: { ...home(), target: [...at(nearest), 0], zoom: view.zoom } });
  }
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
    path = [];
  });
}

function inside(path) {
  const [view] = plot.getViewports();
  const outline = new Path2D();
  path.forEach(([x, y]) => outline.lineTo(x, y));
  outline.closePath();
  const context = canvas.getContext("2d");
  const rows = [];
  for (let row = 0; row < state.count; row++) {
    const [x, y] = view.project([state.points[2 * row], state.points[2 * row + 1]]);
    if (context.isPointInPath(outline, x, y)) rows.push(row);
  }
  return rows;
}

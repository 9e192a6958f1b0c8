// The collection on a plane: every segment a point, drawn by WebGL.

import { getNumbers } from "./api.js";
import { play, showCards } from "./cards.js";
import { NONE, colourNames, legend } from "./colours.js";
import { cardOf, state, trying } from "./state.js";

const place = document.getElementById("map-place");
const canvas = document.getElementById("map-lasso-line");
const colourBy = document.getElementById("map-colour");
const find = document.getElementById("map-find");
const lassoButton = document.getElementById("map-lasso");
const hover = document.getElementById("map-hover");
const chosenTitle = document.getElementById("map-chosen-title");
const chosenCards = document.getElementById("map-chosen");

let plot;
let colours = new Uint8Array();
let chosen = [];
let clusters;

export async function start() {
  colourBy.value = state.folders.some((folder) => folder) ? "folder" : "cluster";
  const names = document.getElementById("names");
  names.append(...state.names.slice(0, 5000).map((name) => new Option(name, name)));
  plot = new deck.Deck({
    parent: place,
    views: new deck.OrthographicView({ flipY: false }),
    initialViewState: home(),
    controller: { doubleClickZoom: false },
    onResize: () => plot?.setProps({ initialViewState: home() }),
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
    clusters ??= await getNumbers("/api/clusters", Int32Array);
    named = (row) => `cluster ${clusters[row] + 1}`;
  } else if (colourBy.value === "label") {
    named = (row) => state.labels[state.names[state.clip[row]]] ?? "";
  } else {
    named = (row) => state.folders[state.clip[row]];
  }
  const names = Array.from({ length: state.count }, (_, row) => named(row));
  const known = colourNames(names);
  colours = new Uint8Array(4 * state.count);
  names.forEach((name, row) => colours.set([...(known.get(name) ?? NONE), 190], 4 * row));
  const others = names.some((name) => !known.has(name));
  legend(document.getElementById("map-legend"), known, others ? "other" : "");
  draw();
}

function draw() {
  const radius = Math.max(1.5, 6 - Math.log10(state.count));
  const ring = chosen.length > 100 ? 1 : 3;
  plot.setProps({
    layers: [
      new deck.ScatterplotLayer({
        id: "points",
        data: {
          length: state.count,
          attributes: {
            getPosition: { value: state.points, size: 2 },
            getFillColor: { value: colours, size: 4, normalized: true },
          },
        },
        getRadius: radius,
        radiusUnits: "pixels",
        pickable: true,
      }),
      new deck.ScatterplotLayer({
        id: "chosen",
        data: chosen,
        getPosition: (row) => [state.points[2 * row], state.points[2 * row + 1]],
        getRadius: radius + ring,
        radiusUnits: "pixels",
        filled: false,
        stroked: true,
        getLineColor: [220, 50, 47],
        lineWidthUnits: "pixels",
        getLineWidth: ring > 1 ? 2 : 1,
      }),
    ],
  });
}

export function choose(rows, sounding = false) {
  chosen = rows;
  chosenTitle.textContent = rows.length === 1 ? "" : `${rows.length.toLocaleString()} segments`;
  showCards(chosenCards, rows.slice(0, 30).map(cardOf));
  if (sounding && rows.length) play(cardOf(rows[0]));
  draw();
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

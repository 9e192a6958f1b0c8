// The collection on a plane: every segment a point.

import { get, getNumbers } from "./api.js";
import { play } from "./cards.js";
import * as chosenOnes from "./chosen.js";
import { onTheme, ring } from "./colours.js";
import { Density } from "./density.js";
import { Lasso, within } from "./lasso.js";
import { Legend } from "./legend.js";
import { Names, Tip } from "./signs.js";
import { cardOf, say, state, trying } from "./state.js";

const ASK_MS = 1000;  // between two questions for how far the places are
const byId = (name) => document.getElementById(`map-${name}`);
const [place, canvas, colourBy, find, said, all] =
  ["place", "lasso-line", "colour", "find", "said", "all"].map(byId);
const density = new Density(byId("density"));
const names = new Names(byId("names"));
const tip = new Tip(byId("tip"));
const legend = new Legend(byId("legend"), () => trying(paint));

let plot, lasso;
let shelves;  // of each sound its first folder
let shown;  // the projection
let regions;  // of it: of each point its number; of each their places and names
let chosen = [];
let hidden = new Uint8Array();  // of each point whether the legend hides it
let seen = "";  // of the plane
let isDrawn;
const drawn = new Promise((done) => { isDrawn = done; });

export async function start() {
  const facts = await get("plane");
  shelves = firstFolders(state.folders);
  colourBy.value = new Set(shelves).size > 1 ? "folder" : "cluster";
  colourBy.querySelector("[value=path]").hidden = shelves.join() === state.folders.join();
  const known = document.getElementById("names");
  known.append(...state.names.slice(0, 5000).map((name) => new Option(name, name)));
  const by = document.createElement("canvas").getContext("webgl2") ? "gl" : "canvas";
  const { makePlot } = await import(`./plot_${by}.js`);
  plot = makePlot(place, {
    onHover: (row) => point(row),
    onClick: (row) => choose([row], true),
    onView: look,
  });
  place.plot = plot;  // for tests and for the curious
  chosenOnes.start();
  colourBy.addEventListener("change", () => trying(paint));
  state.addEventListener("labels", () => colourBy.value === "label" && trying(paint));
  onTheme(() => {
    density.measure(state.points);
    trying(paint);
  });
  byId("home").addEventListener("click", () => {
    plot.home();
    focus();
  });
  all.addEventListener("click", () => legend.clear());
  find.addEventListener("change", search);
  find.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    focus();  // where the arrow keys go on; what was typed counts as it is left
  });
  byId("lasso").addEventListener("click", ({ currentTarget }) => {
    currentTarget.setAttribute("aria-pressed", canvas.classList.toggle("drawing"));
  });
  byId("sheet").addEventListener("click", ({ currentTarget }) =>
    open(currentTarget.getAttribute("aria-expanded") !== "true"));
  place.addEventListener("keydown", walk, { capture: true });  // before deck.gl pans
  lasso = new Lasso(canvas, encircle);
  await arrange(facts.shown);
  follow(facts);
  await drawn;
}

/** Of each folder the first part that not all share: what tells them apart at a glance. */
export function firstFolders(folders) {
  const parts = folders.map((folder) => (folder ? folder.split("/") : []));
  let shared = 0;
  while (parts.every((each) => each.length > shared && each[shared] === parts[0][shared])) shared++;
  const told = parts.map((each) => each[shared] ?? "");
  return told.some((each) => each) ? told : folders;
}

// The places of a projection, and what is called so there.
async function arrange(how) {
  shown = how;
  regions = undefined;
  state.points = await getNumbers(`points/${how}`, Float32Array);
  density.measure(state.points);
  lasso.keep([]);
  await paint();
  trying(nameRegions);  // nobody waits: the server takes seconds for the first ones
}

async function nameRegions() {
  const how = shown;
  const found = await get(`regions/${how}`);
  if (how !== shown) return;
  regions = found;
  const counts = new Map();
  for (const number of found.region) counts.set(number, (counts.get(number) ?? 0) + 1);
  const order = [...found.named.keys()].sort((a, b) => (counts.get(b) ?? 0) - (counts.get(a) ?? 0));
  names.show(order.map((number) => found.named[number]));
  names.draw(plot.project);
}

// Better places are found in the meantime.
async function follow(facts) {
  try {
    while (facts.under_way) {
      said.textContent = facts.share
        ? `Arranging by likeness: ${Math.round(100 * facts.share)} %` : "Arranging by likeness …";
      await new Promise((done) => { setTimeout(done, ASK_MS); });
      facts = await get("plane");
    }
    said.textContent = facts.error;
    if (facts.shown === shown) return;
    await arrange(facts.shown);
    said.textContent = "Arranged by likeness";
  } catch {  // the server has ended, or shows another collection: whatever is asked next says so
    said.textContent = "";
  }
}

const focus = () => place.querySelector("canvas:not([aria-hidden])")?.focus({ preventScroll: true });

const at = (row) => [state.points[2 * row], state.points[2 * row + 1]];

// What moves with the plane.
function look() {
  const view = [plot.project([0, 0]), plot.project([1, 1]), place.clientWidth].join();
  if (view === seen) return;
  seen = view;
  for (const each of [density, names, tip, lasso]) each.draw(plot.project);
  isDrawn();
}

function point(row) {
  const pointed = row < 0 && chosen.length === 1 ? chosen[0] : row;
  if (pointed < 0) tip.hide();
  else tip.show(cardOf(pointed), at(pointed));
  tip.draw(plot.project);
}

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
  if (colourBy.value === "cluster" && !regions) await nameRegions();
  const called = {
    cluster: (row) => regions.named[regions.region[row]][2] || `cluster ${regions.region[row] + 1}`,
    label: (row) => state.labels[state.names[state.clip[row]]] ?? "",
    folder: (row) => shelves[state.clip[row]],
    path: (row) => state.folders[state.clip[row]],
  }[colourBy.value];
  const given = Array.from({ length: state.count }, (_, row) => called(row));
  legend.show(given);
  const looks = new Map([...new Set(given)].map((name) =>
    [name, { ...legend.looksOf(name), alpha: legend.shows(name) ? 255 : 0 }]));
  const colours = new Uint8Array(4 * state.count);
  const shapes = new Float32Array(state.count);
  hidden = new Uint8Array(state.count);
  given.forEach((name, row) => {
    const { colour, shape, alpha } = looks.get(name);
    colours.set(colour, 4 * row);
    colours[4 * row + 3] = alpha;
    shapes[row] = shape;
    hidden[row] = alpha ? 0 : 1;
  });
  all.hidden = !legend.filters;
  plot.paint(state.points, colours, shapes);
  seen = "";
  draw();
}

function draw() {
  const sized = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  const radius = sized * Math.max(1.5, 6 - Math.log10(state.count));
  const few = chosen.length <= 100;
  plot.choose(chosen, ring(), { radius, ringRadius: radius + (few ? 4 : 1.5), line: few ? 2 : 1 });
}

export function choose(rows, sounding = false) {
  chosen = rows;
  const cards = chosenOnes.show(rows);
  if (rows.length) open(true);
  if (sounding && rows.length) play(cards[0]);
  lasso.keep([]);
  lasso.draw(plot.project);
  point(-1);
  draw();
}

// On a small screen the list is a sheet at the foot, which opens.
function open(wide) {
  byId("sheet").setAttribute("aria-expanded", wide);
  byId("aside").classList.toggle("open", wide);
}

function encircle(path) {
  choose(within(path, state.count, (row) => plot.project(at(row))).filter((row) => !hidden[row]));
  lasso.keep(path.map((each) => plot.unproject(each).slice(0, 2)));
  lasso.draw(plot.project);
  focus();
}

// The arrow keys go from the chosen point to the nearest one in their direction; Escape chooses none.
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function walk(event) {
  if (event.key === "Escape") choose([]);
  const direction = DIRECTIONS[event.key];
  if (!direction) return;
  event.preventDefault();
  event.stopPropagation();
  const [fromX, fromY] = chosen.length ? at(chosen[0]) : [0, 0];
  let nearest = -1;
  let least = Infinity;
  for (let row = 0; row < state.count; row++) {
    if (hidden[row]) continue;
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

// The detector, label by label: how the segments score, which score is enough, what a review says,
// and what is detected.

import { post, postForFile } from "./api.js";
import * as detecting from "./detecting.js";
import { Hits } from "./hits.js";
import * as marks from "./marks.js";
import { offerRecordings } from "./offers.js";
import { mention, state, trying } from "./state.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 500;
const HEIGHT = 100;
const FORMS = { csv: "detections.csv", parquet: "detections.parquet",
  raven: "detections.selections.txt", audacity: "detections-audacity.zip", birdnet: "detections.csv" };
const FIELDS = ["after", "before", "hours", "site"];
const byId = (name) => document.getElementById(`detector-${name}`);
const [slider, said] = ["threshold", "said"].map(byId);

let label;  // that is shown
let asked = 0;
const drawn = new Hits(byId("drawn"), answer);
const found = new Hits(byId("found"), markHit);

export async function start() {
  byId("fit").addEventListener("click", fit);
  byId("bring").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", bring);
  byId("draw").addEventListener("click", () => review(Number(byId("count").value)));
  slider.addEventListener("input", drawThreshold);
  slider.addEventListener("change", () => detecting.setThreshold(label, Number(slider.value)));
  for (const form of Object.keys(FORMS)) byId(form).addEventListener("click", () => download(form));
  const known = state.facts.recorded;
  byId("recorded").hidden = !known;
  byId("site").replaceChildren(new Option("Any site", ""),
    ...(known?.sites ?? []).map((name) => new Option(name, name)));
  for (const name of FIELDS) byId(name).addEventListener("change", detect);
  for (const name of ["gap", "least"]) {
    byId(name).value = detecting.joining()[`${name}_s`];
    byId(name).addEventListener("change", ({ target }) =>
      detecting.join({ [`${name}_s`]: Math.max(0, target.valueAsNumber || 0) }));
  }
  state.addEventListener("detector", () => { draw(); detect(); });
  state.addEventListener("marks", count);
  await Promise.all([marks.load(), detecting.load()]);
}

export const show = () => detecting.load();

async function fit() {
  said.textContent = "Fitting …";
  byId("fit").disabled = true;
  const went = await trying(async () => { await detecting.fit(); return true; });
  drawFit();
  const { labels } = detecting.detector();
  const unopposed = labels.length > 1 && labels.every(({ marked }) => !marked["-"]);
  const hint = unopposed ? " Nothing is marked as absent: sound that has none of the labels is given"
    + " one all the same, unless you mark some of it as noise, or answer No, and fit again." : "";
  said.textContent = went ? `Fitted on the marks as they are.${hint}` : "";
  if (went) await review();
}

async function bring({ target }) {
  const [file] = target.files;
  if (!file) return;
  const text = await file.text();
  target.value = "";
  const brought = await trying(() => post("marks/table", { name: file.name, text }));
  if (!brought) return;
  marks.take(brought.marks);
  const each = Object.entries(brought.labels).map(([name, count]) => `${count} ${name}`).join(", ");
  const clips = `${brought.clips} ${brought.clips === 1 ? "recording" : "recordings"}`;
  said.textContent = `${file.name}: ${each} in ${clips}; ${brought.added} of them are new.`;
  await trying(detecting.load);
}

// What is to be done first has the colour: marks, and then a fit on them.
function drawFit() {
  const isMarked = detecting.detector().labels.length > 0;
  byId("fit").disabled = !isMarked;
  byId("fit").classList.toggle("main", isMarked);
  byId("bring").classList.toggle("main", !isMarked);
}

function draw() {
  const { labels } = detecting.detector();
  drawFit();
  byId("empty").hidden = labels.length > 0;
  if (!labels.length) offerRecordings("detector");
  byId("labels").hidden = !labels.length;
  byId("whose").hidden = detecting.fitted().length < 2;
  if (!labels.some((each) => each.label === label)) choose(labels[0]?.label);
  byId("labels").replaceChildren(...labels.map((each) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = each.label;
    made.setAttribute("aria-pressed", each.label === label);
    made.addEventListener("click", () => { choose(each.label); draw(); detect(); });
    return made;
  }));
  const now = labels.find((each) => each.label === label);
  byId("label").hidden = !now;
  if (!now) return;
  byId("title").textContent = label;
  count();
  byId("fitted").hidden = !now.histogram;
  if (!now.histogram) return;
  slider.value = detecting.thresholdOf(label);
  drawHistogram(now.histogram);
  drawThreshold();
}

function choose(name) {
  if (name === label) return;
  label = name;
  for (const hits of [drawn, found]) {  // a key that is pressed now is not for those of the other one
    hits.reset();
    hits.show([]);
  }
  if (detecting.fitted().includes(name)) review();
}

function count() {
  const now = detecting.detector().labels.find((each) => each.label === label);
  if (!now) return;
  const { "+": yes, "-": no, "?": unsure } = now.marked;
  const fitted = now.histogram ? "" : " Fit to hear where it is.";
  byId("marked").textContent = `Marked: ${yes} that have it, ${no} that have not`
    + `${unsure ? `, ${unsure} unsure` : ""}.${fitted}`;
}

function shape(kind, looks) {
  const made = document.createElementNS(SVG, kind);
  for (const [key, value] of Object.entries(looks)) made.setAttribute(key, value);
  return made;
}

// By the logarithm: of the few high scores each is seen beside the many low ones.
function drawHistogram(counts) {
  const most = Math.log1p(Math.max(...counts));
  const width = WIDTH / counts.length;
  byId("histogram").replaceChildren(...counts.map((count, at) => {
    const height = most ? (HEIGHT * Math.log1p(count)) / most : 0;
    return shape("rect", { x: at * width, y: HEIGHT - height, width: width * 0.9, height,
      "data-from": at / counts.length });
  }), shape("line", { y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" }));
  byId("histogram").setAttribute("aria-label",
    `How many segments have which score, from 0 to 1, by the logarithm; ${counts.join(", ")}`);
}

function drawThreshold() {
  const at = Number(slider.value);
  byId("threshold-text").textContent = at.toFixed(2);
  const line = byId("histogram").querySelector("line");
  for (const end of ["x1", "x2"]) line.setAttribute(end, WIDTH * at);
  for (const bar of byId("histogram").querySelectorAll("rect")) {
    bar.classList.toggle("enough", Number(bar.dataset.from) >= at - 1e-9);
  }
}

const filters = () => Object.fromEntries(FIELDS.map((name) => [name, byId(name).value.trim()]));

async function detect() {
  const mine = ++asked;
  if (!detecting.fitted().includes(label)) return;
  byId("counts").textContent = "Detecting …";
  const answer = await trying(() => detecting.found({ ...detecting.wanted([label]), ...filters() }));
  if (mine !== asked) return;
  const { total = 0, found: spans = [] } = answer ?? {};
  const first = total > spans.length ? `; the first ${spans.length.toLocaleString()} are listed` : "";
  const counts = detecting.detector().labels.find((each) => each.label === label).histogram;
  const all = counts.reduce((sum, each) => sum + each, 0);
  byId("counts").textContent = answer
    ? `${total.toLocaleString()} ${total === 1 ? "detection" : "detections"} in`
      + ` ${all.toLocaleString()} segments${first}` : "";
  found.show(spans);
}

async function review(number) {
  const asked = { label, count: number ?? null };
  const now = await trying(() => post("detector/review", asked));
  if (now && asked.label === label) drawReview(now);
}

function drawReview({ items, said: says }) {
  drawn.show(items.map((item, number) => ({ ...item, number })));
  byId("draw").hidden = items.length > 0;
  byId("count").parentElement.hidden = items.length > 0;
  const left = items.filter(({ sign }) => sign === "?").length;
  const share = (value) => (value == null ? "unknown" : `${(100 * value).toFixed(1)} %`);
  const parts = [];
  if (items.length) parts.push(`${items.length - left} of ${items.length} answered`);
  if (says) {
    const [value, from, to] = says.density;
    parts.push(`${says.right} right, ${says.wrong} wrong`);
    parts.push(value == null ? "how much of all has it is known when each bin has an answer"
      : `${share(value)} of all segments have it (${share(from)} to ${share(to)})`);
  }
  byId("density").textContent = parts.join(" · ");
  byId("precisions").replaceChildren(...Object.entries(says?.thresholds ?? {}).map(
    ([precision, [value, from, to]]) => {
      const made = document.createElement("button");
      made.type = "button";
      made.className = "chip";
      const score = (each) => each?.toFixed(2) ?? "none";
      made.textContent = `${Number((100 * precision).toFixed(1))} % right: `
        + (value == null ? "no score yet" : `${score(value)} (${score(from)} to ${score(to)})`);
      made.disabled = value == null;
      made.addEventListener("click", () => detecting.setThreshold(label, value));
      return made;
    }));
}

async function answer(item, sign, other) {
  const asked = { label, number: item.number, sign, other };
  const now = await trying(() => post("detector/answer", asked));
  if (!now) return false;
  marks.take(now.marks);
  if (asked.label === label) drawReview(now);
  if (now.warning) mention(now.warning);
  return true;
}

async function markHit(item, sign, other) {
  return trying(async () => {
    await marks.mark(item, label, sign);
    if (other) await marks.mark(item, other, "+");
    return true;
  });
}

async function download(form) {
  const labels = byId("every").checked ? detecting.fitted() : [label];
  const file = await trying(() =>
    postForFile(`detector/file/${form}`, { ...detecting.wanted(labels), ...filters() }));
  if (!file) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = FORMS[form];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

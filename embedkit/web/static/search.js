// Search: by sounds that the results are to be like, or unlike; or by words for them.

import { post, upload } from "./api.js";
import { bestOf, button, makeCard } from "./cards.js";
import { keep } from "./stale.js";
import { cardNamed, say, state, trying } from "./state.js";

const results = document.getElementById("search-results");
const chips = document.getElementById("search-query");
const said = document.getElementById("search-said");
const slider = document.getElementById("search-size");
const sizeText = document.getElementById("search-size-text");
const form = document.getElementById("search-form");
const typed = document.getElementById("search-words");
const drop = document.getElementById("search-drop");
const file = document.getElementById("search-file");
const record = document.getElementById("search-record");
const filters = ["folder", "label", "shortest", "longest"].map((name) =>
  document.getElementById(`search-${name}`));

let words = "";  // searched for instead of sounds
let like = [];
let unlike = [];
let uploads = [];
let sending = "";  // name of the sound that is on its way
let shown = new Set();
let asked = 0;
let started = false;

export function start() {
  const { sizes } = state.facts;
  slider.max = sizes.length - 1;
  slider.value = sizes.length - 1;
  slider.disabled = sizes.length < 2;
  sizeText.textContent = sizes.at(-1);
  slider.addEventListener("input", () => {
    sizeText.textContent = sizes[slider.value];
  });
  slider.addEventListener("change", run);
  for (const filter of filters) filter.addEventListener("change", run);
  const folders = [...new Set(state.folders.filter((name) => name))].sort();
  document.getElementById("folders").append(...folders.map((name) => new Option(name, name)));
  state.addEventListener("labels", listLabels);
  listLabels();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (typed.value.trim()) ask({ words: typed.value.trim() });
  });
  drop.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files.length) add(file.files[0], file.files[0].name);
    file.value = "";
  });
  const over = (event) => {
    event.preventDefault();
    drop.classList.toggle("over", event.type === "dragover");
  };
  for (const kind of ["dragover", "dragleave", "drop"]) window.addEventListener(kind, over);
  window.addEventListener("drop", (event) => {
    const [dropped] = event.dataTransfer.files;
    if (dropped) add(dropped, dropped.name);
  });
  record.addEventListener("click", listenToMicrophone);
  started = true;
  if (words || like.length) run();
}

export function show(card) {
  if (card) ask({ like: [card] });
}

// Another query than the one before.
function ask(query) {
  ({ words, like, unlike, uploads } = { words: "", like: [], unlike: [], uploads: [], ...query });
  run();
}

const named = (cards) => cards.map(({ name, start_s }) => ({ name, start_s }));

keep(
  "search",
  () => ({
    words, like: named(like), unlike: named(unlike),
    dropped: [...uploads.map((each) => each.name), ...(sending ? [sending] : [])],
  }),
  (kept) => {
    const found = (cards) =>
      cards.map(({ name, start_s }) => cardNamed(name, start_s)).filter((card) => card);
    [words, like, unlike] = [kept.words, found(kept.like), found(kept.unlike)];
    if (started && (words || like.length)) run();
    return kept.dropped.length ? `Drop ${kept.dropped.join(", ")} again to search by it.` : "";
  },
);

async function add(blob, name) {
  state.dispatchEvent(new CustomEvent("open", { detail: { view: "search" } }));
  said.textContent = `Embedding ${name} …`;
  sending = name;
  const found = await trying(() => upload(blob));
  sending = "";
  if (!found) {
    said.textContent = "";
    return;
  }
  ask({ uploads: [{ number: found.upload, name }] });
}

async function listenToMicrophone() {
  if (record.recorder) {
    record.recorder.stop();
    return;
  }
  await trying(async () => {
    if (!navigator.mediaDevices) throw new Error("this browser lets no page record here");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const parts = [];
    const recorder = new MediaRecorder(stream);
    record.recorder = recorder;
    record.textContent = "Stop";
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      record.recorder = undefined;
      record.textContent = "Record";
      add(new Blob(parts), "recording");
    });
    recorder.start();
    setTimeout(() => recorder.state === "recording" && recorder.stop(), 10000);
  });
}

const more = (card) => ask({ like: [...like, card], unlike, uploads });
const less = (card) => ask({ like, unlike: [...unlike, card], uploads });

async function run() {
  const mine = ++asked;
  listQuery();
  if (!words && !like.length && !uploads.length) {
    results.replaceChildren();
    said.textContent = "Click any sound, drop one, or search by words.";
    return;
  }
  const [folder, label, shortest, longest] = filters.map((filter) => filter.value);
  const wanted = {
    folder, label,
    shortest_s: Number(shortest) || 0,
    longest_s: Number(longest) || null,
  };
  const started = performance.now();
  const answer = await trying(words ? () => byWords(wanted) : () => bySounds(wanted));
  if (mine !== asked) return;  // another search was asked for meanwhile
  if (!answer) {
    results.replaceChildren();
    said.textContent = "";
    return;
  }
  const { found, by } = answer;
  const rows = new Set(found.map((card) => card.row));
  const fresh = found.filter((card) => !shown.has(card.row));
  const changed = shown.size ? `, ${fresh.length} of them new` : "";
  said.textContent = `${found.length} sounds by ${by}${changed},`
    + ` ${Math.round(performance.now() - started)} ms`;
  results.replaceChildren(...found.map((card) => {
    const made = makeCard(card, { "Like this": more, ...(words ? {} : { "Not this": less }) });
    made.classList.toggle("new", shown.size > 0 && !shown.has(card.row));
    return made;
  }));
  shown = rows;
}

async function byWords(wanted) {
  const { found, names } = await post("words", { text: words, ...wanted });
  return { found: bestOf(found), by: names };
}

async function bySounds(wanted) {
  const size = state.facts.sizes[slider.value];
  const { found } = await post("search", {
    like: like.map((card) => card.row),
    unlike: unlike.map((card) => card.row),
    uploads: uploads.map((each) => each.number),
    size, ...wanted,
  });
  return { found: bestOf(found), by: `${size} numbers` };
}

function listQuery() {
  const made = [
    ...(words ? [chip(words, () => { words = ""; })] : []),
    ...uploads.map((each) => chip(`like ${each.name}`, () => {
      uploads = uploads.filter((other) => other !== each);
    })),
    ...like.map((card) => chip(`like ${card.name}`, () => {
      like = like.filter((other) => other !== card);
    })),
    ...unlike.map((card) => chip(`unlike ${card.name}`, () => {
      unlike = unlike.filter((other) => other !== card);
    })),
  ];
  chips.replaceChildren(...made);
}

function chip(text, remove) {
  const made = button(`${text} ✕`, () => { remove(); say(""); run(); }, "Take it out");
  made.className = "chip";
  return made;
}

function listLabels() {
  const select = filters[1];
  const kept = select.value;
  const labels = [...new Set(Object.values(state.labels))].sort();
  select.replaceChildren(new Option("any", ""), ...labels.map((name) => new Option(name, name)));
  select.value = labels.includes(kept) ? kept : "";
}

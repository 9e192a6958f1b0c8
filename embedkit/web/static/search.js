// Search: by words, by name, or by sounds that the results are to be like or unlike. The address says
// what is asked for; all that a person does here leads to another address.

import { addressOf, cardAt, go, nameIn, refer } from "./address.js";
import { post } from "./api.js";
import { icon } from "./icons.js";
import { mark, signOf } from "./marks.js";
import { Rows } from "./rows.js";
import { state, trying } from "./state.js";
import { recall, store } from "./stored.js";

const PAGE = 30;
const MOST = 200;  // sounds that the server gives at once
const HOVER = "embedkit-hover";
const byId = (name) => document.getElementById(`search-${name}`);
const [said, chips, typed, more, size, hover] =
  ["said", "query", "words", "more", "size", "hover"].map(byId);
const recorded = ["after", "before", "hours", "site"];
const fields = ["folder", "label", "shortest", "longest", "sort", ...recorded];

let wanted = new URLSearchParams();  // by the address
let body = {};  // of the request
let total = 0;
let asked = 0;
let written = null;  // the text of the address that the field was given last

const kind = () => (wanted.has("words") ? "words"
  : ["like", "unlike", "upload"].some((key) => wanted.has(key)) ? "search" : "named");

const rows = new Rows(byId("results"), {
  more: showMore,
  extras: (card) => (kind() === "search" ? ["like", "unlike"].map((key) => [
    key === "like" ? "More like this too" : "Less like this",
    () => alter((next) => next.append(key, refer(card))),
  ]) : []),
  hovers: () => hover.checked,
  keys: markHit,
});

// The second of a row as a stretch that has the label, or has it not.
function markHit(key, card) {
  const label = byId("mark").value.trim();
  const sign = signOf(key);
  if (key !== "e" && !sign) return false;
  if (key === "e" || !label) byId("mark").select();
  else trying(() => mark(card, label, sign));
  return true;
}

export function start() {
  byId("mark").addEventListener("keydown", ({ key }) => key === "Enter" && rows.focus());
  const { sizes } = state.facts;
  size.max = sizes.length - 1;
  size.disabled = sizes.length < 2;
  size.addEventListener("input", writeSize);
  size.addEventListener("change", () => alter((next) => {
    if (Number(size.value) === sizes.length - 1) next.delete("size");
    else next.set("size", sizes[size.value]);
  }));
  for (const name of fields) {
    byId(name).addEventListener("change", ({ target }) => alter((next) => {
      if (target.value) next.set(name, target.value);
      else next.delete(name);
    }));
  }
  const folders = [...new Set(state.folders.filter((name) => name))].sort();
  document.getElementById("folders").append(...folders.map((name) => new Option(name, name)));
  offerRecorded();
  state.addEventListener("labels", listLabels);
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    askByText();
  });
  for (const choice of document.querySelectorAll("[name=search-kind]")) {
    choice.addEventListener("change", () => typed.value.trim() && askByText());
  }
  more.addEventListener("click", async () => {
    const before = rows.length;
    await showMore();
    rows.focus(before);
  });
  byId("fold").addEventListener("click", () => {  // on a small screen
    const wide = document.getElementById("search").classList.toggle("open");
    byId("fold").setAttribute("aria-expanded", wide);
  });
  hover.checked = recall(HOVER) ?? true;
  hover.addEventListener("change", () => store(HOVER, hover.checked));
}

// Where `embedkit describe` has noted when and where the sounds were recorded.
function offerRecorded() {
  const known = state.facts.recorded;
  byId("recorded").hidden = !known;
  if (!known) return;
  for (const [name, start] of [["after", known.first], ["before", known.last]]) {
    byId(name).placeholder = start?.slice(0, 10) ?? "";
  }
  byId("site").replaceChildren(new Option("Any site", ""),
    ...known.sites.map((name) => new Option(name, name)));
}

/** What the address asks for; nothing: what is shown already. */
export async function show(now) {
  if (!now) {
    if (document.activeElement?.id === "search") rows.focus();  // back at the row that one left
    return;
  }
  const before = wanted;
  wanted = now;
  fill();
  await run(before);
}

export const title = (asked) => describe(asked).map(([text]) => text).join(", ");

const askByText = () => {
  const text = typed.value.trim();
  ask(text ? [[document.querySelector("[name=search-kind]:checked").value, text]] : []);
};

// Another query by the same filters.
function ask(query) {
  const next = new URLSearchParams(query);
  for (const name of [...fields, "size"]) {
    if (wanted.has(name) && name !== "sort") next.set(name, wanted.get(name));
  }
  go(addressOf("search", next));
}

function alter(change) {
  const next = new URLSearchParams(wanted);
  next.delete("shown");
  change(next);
  go(addressOf("search", next));
}

// Fields and chips as the address says.
function fill() {
  listLabels();
  for (const name of fields) byId(name).value = wanted.get(name) ?? "";
  const set = [...fields, "size"].filter((name) => wanted.has(name)).length;
  byId("fold").textContent = `Filters and order${set ? ` · ${set} set` : ""}`;
  const best = byId("sort").options[0];
  best.text = { words: "Surest first", search: "Closest first", named: "By name" }[kind()];
  const at = state.facts.sizes.indexOf(Number(wanted.get("size")));
  size.value = at < 0 ? state.facts.sizes.length - 1 : at;
  writeSize();
  const text = wanted.get("words") ?? wanted.get("named");
  if (text !== written) typed.value = text ?? "";  // what is typed meanwhile stays
  written = text;
  if (text !== null) byId(`by-${kind()}`).checked = true;
  const focused = chips.contains(document.activeElement);
  const inFields = kind() !== "search";
  chips.replaceChildren(...(inFields ? [] : describe(wanted)).map(([words, key, value]) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.title = "Take it out";
    chip.append(words, icon("remove"));
    chip.addEventListener("click", () => alter((next) => next.delete(key, value)));
    return chip;
  }));
  if (focused) (chips.lastElementChild ?? typed).focus();
}

// What is asked for in words, each with its place in the address.
const DESCRIBED = {
  words: (value) => value,
  named: (value) => `“${value}” in the name`,
  like: (value) => `like ${nameIn(value)}`,
  unlike: (value) => `unlike ${nameIn(value)}`,
  upload: (value) => `like ${value.replace(/^\d+:/, "")}`,
};
const describe = (asked) => [...asked].filter(([key]) => key in DESCRIBED)
  .map(([key, value]) => [DESCRIBED[key](value), key, value]);

function writeSize() {
  const { sizes } = state.facts;
  byId("size-text").textContent = `${sizes[size.value]} of ${sizes.at(-1)} numbers`;
}

function listLabels() {
  const select = byId("label");
  const asked = wanted.get("label") ?? "";
  const labels = [...new Set([...Object.values(state.labels), ...(asked ? [asked] : [])])].sort();
  select.replaceChildren(new Option("Any label", ""), ...labels.map((name) => new Option(name, name)));
  select.value = asked;
}

// The request that the address stands for; a sound that is not there is named.
function request() {
  const number = (name) => Number(wanted.get(name)) || 0;
  const filters = {
    folder: wanted.get("folder") ?? "", label: wanted.get("label") ?? "",
    shortest_s: number("shortest"), longest_s: number("longest") || null,
    ...(wanted.has("sort") ? { sort: wanted.get("sort") } : {}),
    ...Object.fromEntries(recorded.map((name) => [name, wanted.get(name) ?? ""])),
  };
  if (kind() !== "search") return { text: wanted.get("words") ?? wanted.get("named") ?? "", ...filters };
  const rowsOf = (key) => wanted.getAll(key).map((each) => {
    const card = cardAt(each);
    if (!card) throw new Error(`${nameIn(each)} is not in this collection.`);
    return card.row;
  });
  return {
    like: rowsOf("like"), unlike: rowsOf("unlike"),
    uploads: wanted.getAll("upload").map((each) => Number.parseInt(each, 10)),
    ...(number("size") ? { size: number("size") } : {}), ...filters,
  };
}

const part = (offset, top) => post(kind(), { ...body, offset, top });

async function run(before) {
  const mine = ++asked;
  said.textContent = "Searching …";
  byId("results").setAttribute("aria-busy", "true");
  const answer = await trying(async () => {
    body = request();
    return await part(0, Math.min(Math.max(PAGE, Number(wanted.get("shown")) || 0), MOST));
  });
  if (mine !== asked) return;  // another search was asked for meanwhile
  byId("results").removeAttribute("aria-busy");
  const known = onlySizeDiffers(before) ? new Set(rows.names) : undefined;
  rows.show(answer?.found ?? [], known);
  total = answer?.total ?? 0;
  said.textContent = answer ? summary(answer, known) : "";
  if (!answer && kind() === "words") offerNames();
  drawMore();
}

function onlySizeDiffers(before) {
  const rest = (each) => {
    const others = new URLSearchParams(each);
    for (const name of ["size", "shown"]) others.delete(name);
    return String(others);
  };
  return before.get("size") !== wanted.get("size") && rest(before) === rest(wanted) && rows.length > 0;
}

function summary({ found, names }, known) {
  const count = `${total.toLocaleString()} ${total === 1 ? "sound" : "sounds"}`;
  const order = byId("sort").selectedOptions[0].text.toLowerCase();
  const heard = names ? `, by how surely ${names} is heard` : "";
  const fresh = found.filter((sound) => !known?.has(sound.name)).length;
  const changed = known ? `; ${fresh} of the first ${found.length} are new` : "";
  return total ? `${count}${heard || `, ${order}`}${changed}` : "No sound fits.";
}

// Words without a name may stand in the name of a file.
function offerNames() {
  const link = document.createElement("a");
  link.href = addressOf("search", { named: wanted.get("words") });
  link.textContent = `Look for “${wanted.get("words")}” in the names of files`;
  said.replaceChildren(link);
}

async function showMore() {
  if (rows.length >= total) return;
  const mine = asked;
  const answer = await trying(() => part(rows.length, PAGE));
  if (!answer || mine !== asked) return;
  rows.append(answer.found);
  wanted.set("shown", rows.length);
  go(addressOf("search", wanted), { quietly: true });
  drawMore();
}

function drawMore() {
  const left = total - rows.length;
  more.hidden = left <= 0;
  more.textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString()}`;
}

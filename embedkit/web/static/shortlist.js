// The shortlist: what was kept, and how it is taken away.

import { postForFile } from "./api.js";
import * as kept from "./kept.js";
import { offerSounds } from "./offers.js";
import { Rows } from "./rows.js";
import { cardNamed, state, trying } from "./state.js";

const byId = (name) => document.getElementById(`shortlist-${name}`);
const FORMS = ["zip", "csv", "m3u"];

let rows;
let emptied = [];  // to be put back

export function start() {
  rows = new Rows(byId("rows"));
  for (const form of FORMS) byId(form).addEventListener("click", () => download(form));
  byId("empty").addEventListener("click", () => {
    emptied = kept.all();
    kept.put([]);
    byId("undo").focus();
  });
  byId("undo").addEventListener("click", () => {
    kept.put(emptied);
    emptied = [];
    byId("empty").focus();
    draw();
  });
  state.addEventListener("shortlist", draw);
  draw();
}

export function show() {
  if (!byId("nothing").hidden) offerSounds("shortlist");
}

// Those that are in this collection; the others wait for theirs.
const here = () => kept.all().flatMap((item) => {
  const card = cardNamed(item.name, item.start_s);
  return card ? [{ ...card, ...item }] : [];
});

function draw() {
  const cards = here();
  const away = kept.all().length - cards.length;
  const lost = away ? `; ${away} more ${away === 1 ? "is" : "are"} not in this collection` : "";
  byId("said").textContent = cards.length || away
    ? `${cards.length} ${cards.length === 1 ? "sound" : "sounds"} kept${lost}`
    : "Nothing is kept yet. The star of a sound puts it here.";
  const isEmpty = !cards.length;
  for (const name of [...FORMS, "empty"]) byId(name).disabled = isEmpty;
  for (const name of ["what", ...FORMS, "empty"]) byId(name).hidden = isEmpty;
  byId("undo").hidden = !emptied.length || !isEmpty;
  const wasOffered = byId("nothing").contains(document.activeElement);
  rows.show(cards.map((card) => ({
    ...card, duration_s: state.seconds[card.clip], similarity: null, seconds: [card],
  })));
  byId("nothing").hidden = !isEmpty;
  show();
  if (wasOffered && !isEmpty) rows.focus();
}

async function download(form) {
  const cuts = byId("cuts").checked;
  const items = here().map(({ clip, start_s, end_s }) => (cuts ? { clip, start_s, end_s } : { clip }));
  const file = await trying(() => postForFile(`shortlist/${form}`, { items }));
  if (!file) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `shortlist.${form}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

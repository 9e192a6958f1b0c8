// What the server is asked. It knows clips and segments by number alone, and numbers mean something
// in one edition of the collection alone: it stands in every address but the first.

import { leave } from "./stale.js";

export class Refused extends Error {}

let edition;

const address = (path) => `/api/${edition}/${path}`;

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Refused("The server does not answer. Is `embedkit explore` still running?");
  }
  const other = response.headers.get("X-Edition");
  if (edition && other && other !== edition) {
    await leave();
    throw new Refused("The server shows another collection than this page. Load the page again.");
  }
  if (response.ok) return response;
  const text = await response.text();
  try {
    const { detail } = JSON.parse(text);
    throw new Refused(typeof detail === "string" ? detail : detail.map((each) => each.msg).join("; "));
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(text || `${response.status} ${response.statusText}`);  // not JSON
  }
}

// The first question: what the collection is, and which edition of it; or how much of it is there.
export async function enter() {
  const facts = await (await ask("/api/collection")).json();
  edition = facts.edition;
  return facts;
}

export const get = async (path) => (await ask(address(path))).json();

export const getNumbers = async (path, Kind) =>
  new Kind(await (await ask(address(path))).arrayBuffer());

export const getFile = async (path) => (await ask(address(path))).blob();

const send = (path, value) => ask(address(path), {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(value ?? {}),
});

export const post = async (path, value) => (await send(path, value)).json();

export const postForFile = async (path, value) => (await send(path, value)).blob();

export const upload = async (blob) =>
  (await ask(address("upload"), {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: blob,
  })).json();

// Of a sound or a picture that does not load nobody says why: its address, asked for, does.
export const askWhy = (url) => ask(url);

const span = (card) => `start_s=${card.start_s}&end_s=${card.end_s}`;
// Chromium plays what it has of an address for minutes, even if the file has changed: so each time
// is an address of its own. (Pictures it asks for again, as the server wants.)
let times = 0;
// How a card is to be heard, if not as the vectors heard it.
const own = ({ hearing }) => (hearing ? `&${new URLSearchParams(hearing)}` : "");
export const audioOf = (card) =>
  address(`audio/${card.clip}?${span(card)}${own(card)}&time=${++times}`);
/** A picture of a span of any length, in the recording's own Hz. */
export const viewOf = (card) => address(`view/${card.clip}?${span(card)}${own(card)}`);
export const originalOf = (card) => address(`original/${card.clip}`);
export const cutOf = (card) => address(`cut/${card.clip}?${span(card)}`);
export const pictureOf = (card) => address(`spectrogram/${card.clip}?${span(card)}`);

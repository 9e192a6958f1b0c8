// What the server is asked. It knows clips and segments by number alone.

export class Refused extends Error {}

async function answer(response) {
  if (response.ok) return response;
  let text = `${response.status} ${response.statusText}`;
  try {
    const { detail } = await response.json();
    text = typeof detail === "string" ? detail : detail.map((each) => each.msg).join("; ");
  } catch { /* not JSON: the status says it */ }
  throw new Refused(text);
}

export const get = async (path) => (await answer(await fetch(path))).json();

export const getNumbers = async (path, Kind) =>
  new Kind(await (await answer(await fetch(path))).arrayBuffer());

export const post = async (path, value) =>
  (await answer(await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(value ?? {}),
  }))).json();

export const upload = async (blob) =>
  (await answer(await fetch("/api/upload", {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: blob,
  }))).json();

const span = (card) => `start_s=${card.start_s}&end_s=${card.end_s}`;
export const audioOf = (card) => `/api/audio/${card.clip}?${span(card)}`;
export const pictureOf = (card) => `/api/spectrogram/${card.clip}?${span(card)}`;

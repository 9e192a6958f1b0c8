// A segment as a card: its spectrogram, its place, and what can be done with it.

import { askWhy, pictureOf } from "./api.js";
import { play } from "./player.js";
import { open, state } from "./state.js";
import { drag, moreFor, starFor } from "./take.js";

export { play };

export function button(text, action, title = "") {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  if (title) made.title = title;
  made.addEventListener("click", action);
  return made;
}

const line = (kind, text) => {
  const made = document.createElement("div");
  made.className = kind;
  made.textContent = text;
  return made;
};

export const time = (seconds) => `${seconds.toFixed(2)} s`;

export function showPicture(picture, card) {
  picture.alt = `Spectrogram of ${card.name}`;
  picture.onerror = () => askWhy(picture.src).catch((error) => {
    picture.alt = `${card.name}: ${error.message}`;
  });
  picture.src = pictureOf(card);
}

export function makeCard(card) {
  const made = document.createElement("article");
  made.className = "card";
  made.dataset.row = card.row;
  const picture = document.createElement("img");
  picture.loading = "lazy";
  showPicture(picture, card);
  picture.addEventListener("click", () => play(card));
  const facts = [`${time(card.start_s)} – ${time(card.end_s)}`];
  if (card.similarity != null) facts.push(card.similarity.toFixed(3));
  if (card.heard) facts.push(card.heard);
  if (card.label) facts.push(card.label);
  if (card.guess) facts.push(`${card.guess}?`);
  const buttons = line("actions", "");
  buttons.append(button("Play", () => play(card)), button("Open", () => open("listen", card)));
  buttons.append(button("Closest sounds", () => open("search", card)));
  const star = starFor(() => card);
  made.star = star;
  buttons.append(star, moreFor(() => card));
  drag(picture, () => card, true);
  made.append(picture, line("name", card.name), line("facts", facts.join(" · ")), buttons);
  return made;
}

// The cards of sounds that a search found: of each its best second.
export const bestOf = (sounds) => sounds.map((sound) => ({ ...sound, ...sound.seconds[0] }));

state.addEventListener("shortlist", () => {
  for (const made of document.querySelectorAll(".card")) made.star.draw();
});

export const showCards = (place, cards) => place.replaceChildren(...cards.map(makeCard));

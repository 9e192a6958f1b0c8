// A segment as a card: its spectrogram, which plays it, its name, which opens it, and the rest.

import { addressOf, refer } from "./address.js";
import { askWhy, pictureOf } from "./api.js";
import { icon, iconed } from "./icons.js";
import { now, play } from "./player.js";
import { timeText } from "./scale.js";
import { state } from "./state.js";
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

const element = (name, kind, ...inside) => {
  const made = document.createElement(name);
  made.className = kind;
  made.append(...inside);
  return made;
};

export const time = (seconds) => `${seconds.toFixed(2)} s`;

/** The spectrogram of a card; `data-is` says whether it is loading, ready or failed. */
export function showPicture(picture, card) {
  picture.dataset.is = "loading";
  picture.alt = `Spectrogram of ${card.name}`;
  picture.onload = () => { picture.dataset.is = "ready"; };
  picture.onerror = () => {
    picture.dataset.is = "failed";
    askWhy(picture.src).catch((error) => {
      picture.alt = `${card.name}: ${error.message}`;
    });
  };
  picture.src = pictureOf(card);
}

/** A name to read, and quietly before it where it lies; it leads to a view. */
function nameLink(card, view) {
  const slash = card.name.lastIndexOf("/") + 1;
  const link = element("a", "name", element("span", "quiet", card.name.slice(0, slash)),
    card.name.slice(slash));
  link.title = card.name;
  link.href = addressOf(view, { sound: refer(card) });
  return link;
}

/** Of a segment; or of a recording, which shows how long it is and leads to the view of such. */
export function makeCard(card, { isRecording = false } = {}) {
  const made = element("article", "card");
  made.dataset.row = card.row;
  const picture = document.createElement("img");
  picture.loading = "lazy";
  showPicture(picture, card);
  const player = element("button", "shot-play", picture, icon("play"));
  player.type = "button";
  player.setAttribute("aria-label", `Play ${card.name}, ${time(card.start_s)}`);
  player.addEventListener("click", () => play(card));
  const facts = [isRecording ? timeText(state.seconds[card.clip], undefined, 1)
    : `${time(card.start_s)} – ${time(card.end_s)}`];
  if (card.similarity != null) facts.push(card.similarity.toFixed(3));
  if (card.heard) facts.push(card.heard);
  if (card.label) facts.push(card.label);
  if (card.guess) facts.push(`${card.guess}?`);
  const similar = iconed(element("a", "plain"), "similar", `Closest sounds to ${card.name}`);
  similar.href = addressOf("search", { like: refer(card) });
  made.star = starFor(() => card);
  const about = element("div", "facts", facts.join(" · "));
  drag(picture, () => card, true);
  made.append(player, element("div", "what", nameLink(card, isRecording ? "recording" : "listen"), about),
    element("div", "actions", similar, made.star, moreFor(() => card)));
  made.card = card;
  return made;
}

// The cards of sounds that a search found: of each its best second.
export const bestOf = (sounds) => sounds.map((sound) => ({ ...sound, ...sound.seconds[0] }));

const all = () => document.querySelectorAll(".card");

state.addEventListener("shortlist", () => all().forEach((made) => made.star.draw()));
state.addEventListener("player", () => {
  const { card, sounding } = now();
  for (const made of all()) {
    made.classList.toggle("sounding", sounding && made.card.row === card?.row);
  }
});

export const showCards = (place, cards, about) =>
  place.replaceChildren(...cards.map((card) => makeCard(card, about)));

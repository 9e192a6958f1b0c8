// A sound is taken away: by its path, as a file, as a cut, by dragging, or on the shortlist.

import { addressOf, refer } from "./address.js";
import { cutOf, get, originalOf, post } from "./api.js";
import { iconButton } from "./icons.js";
import * as kept from "./kept.js";
import { mention, say, state, trying } from "./state.js";

const menu = document.getElementById("menu");

/** A star: whether a sound is on the shortlist. */
export function starFor(cardNow) {
  const star = iconButton("star", "");
  star.addEventListener("click", () => keep(cardNow()));
  star.draw = () => {
    const card = cardNow();
    const there = Boolean(card) && kept.has(card);
    star.disabled = !card;
    star.setAttribute("aria-pressed", there);
    star.setAttribute("aria-label", card ? `Keep ${card.name}` : "Keep");
    star.title = there ? "On the shortlist (F)" : "Keep on the shortlist (F)";
    star.firstElementChild.firstElementChild
      .setAttribute("href", `icons.svg#${there ? "starred" : "star"}`);
  };
  star.draw();
  return star;
}

export function keep(card) {
  kept.toggle(card);
  const there = kept.has(card);
  mention(`${card.name} ${there ? "is on the shortlist" : "is off the shortlist"}`);
}

/** A button that opens the menu of what can be done with a sound. */
export function moreFor(cardNow, extras = () => []) {
  const more = iconButton("more", "More");
  more.setAttribute("popovertarget", "menu");
  more.setAttribute("aria-haspopup", "menu");
  more.draw = () => {
    const card = cardNow();
    more.disabled = !card;
    more.setAttribute("aria-label", card ? `More about ${card.name}` : "More");
  };
  more.addEventListener("click", () => {  // before the browser opens it
    fill(cardNow(), extras(cardNow()));
    const box = more.getBoundingClientRect();
    const low = box.bottom > innerHeight / 2;
    menu.style.top = low ? "auto" : `${box.bottom + 4}px`;
    menu.style.bottom = low ? `${innerHeight - box.top + 4}px` : "auto";
    menu.style.right = `${Math.max(8, innerWidth - box.right)}px`;
  });
  more.draw();
  return more;
}

const seconds = (value) => Number(value.toFixed(2));

function fill(card, extras) {
  const link = (text, href, download = false) => {
    const made = document.createElement("a");
    made.href = href;
    if (download) made.download = "";
    made.textContent = text;
    return made;
  };
  const action = (text, work) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", work);
    return made;
  };
  const line = () => document.createElement("hr");
  const items = [
    link("Open", addressOf("listen", { sound: refer(card) })),
    link("Whole recording", addressOf("recording", { sound: refer(card) })),
    link("Closest sounds", addressOf("search", { like: refer(card) })),
    ...extras.map(([text, work]) => action(text, work)),
    link("Label", addressOf("label", { sound: refer(card) })),
    line(),
    action("Copy path", () => copyPath(card)),
    ...(state.facts.can_reveal ? [action("Show in folder", () => reveal(card))] : []),
    link("Download", originalOf(card), true),
    link(`Download ${seconds(card.start_s)} to ${seconds(card.end_s)} s`, cutOf(card), true),
  ];
  for (const item of items) {
    if (item.localName === "hr") continue;
    item.setAttribute("role", "menuitem");
    item.tabIndex = -1;
    item.addEventListener("click", () => menu.hidePopover());
  }
  menu.setAttribute("aria-label", card.name);
  menu.replaceChildren(...items);
}

menu.addEventListener("toggle", ({ newState }) => {
  if (newState === "open") menu.firstElementChild.focus();
});
menu.addEventListener("keydown", (event) => {
  const items = [...menu.querySelectorAll("[role=menuitem]")];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  items.at(to % items.length).focus();
});

const pathOf = async (card) => (await get(`path/${card.clip}`)).path;

async function copyPath(card) {
  const path = await trying(() => pathOf(card));
  if (!path) return;
  try {
    await navigator.clipboard.writeText(path);
    mention(`Copied: ${path}`);
  } catch {  // a page of another machine may not
    say(`This browser lets no page copy here; the path is ${path}`);
  }
}

const reveal = (card) => trying(() => post(`reveal/${card.clip}`));

const fileAddress = (path) => {
  const slashed = path.startsWith("/") ? path : `/${path.replaceAll("\\", "/")}`;
  return `file://${encodeURI(slashed).replaceAll("#", "%23").replaceAll("?", "%3F")}`;
};

/** Lets an element be dragged to the desktop or into another program, as the whole file or the cut. */
export function drag(element, cardNow, whole) {
  let place;  // of the file on this machine, which the drag is too quick to ask for
  element.draggable = true;
  element.addEventListener("pointerdown", async () => {
    place = undefined;
    if (!whole || !state.facts.can_reveal) return;
    place = await pathOf(cardNow()).then(fileAddress, () => undefined);
  });
  element.addEventListener("dragstart", ({ dataTransfer }) => {
    const card = cardNow();
    const base = card.name.split("/").at(-1).replaceAll(":", "_");
    const name = whole ? base :
      `${base.replace(/\.[^.]*$/, "")}_${card.start_s.toFixed(1)}-${card.end_s.toFixed(1)}s.wav`;
    const source = new URL(whole ? originalOf(card) : cutOf(card), location.href).href;
    dataTransfer.effectAllowed = "copy";
    dataTransfer.setData("DownloadURL", `application/octet-stream:${name}:${source}`);
    dataTransfer.setData("text/uri-list", place ?? source);
  });
}

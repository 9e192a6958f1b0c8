// Where one is: a view and what it shows, as the address says it. So back, forward, a reload and a
// link that is sent lead there. Sounds stand in it by name and time, which mean the same tomorrow.

import { cardNamed, state } from "./state.js";

// The slash keeps the browser from taking a view's name for an element to go to.
export const addressOf = (view, wanted = {}) => {
  const query = new URLSearchParams(wanted).toString().replaceAll("%2F", "/").replaceAll("%40", "@");
  return `#/${view}${query && "?"}${query}`;
};

export const here = () => {
  const [view, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { view, wanted: new URLSearchParams(query) };
};

/** Leads to an address; quietly: the one of what is shown already. */
export function go(address, { quietly = false } = {}) {
  if (address === location.hash) return;
  history[quietly ? "replaceState" : "pushState"](null, "", address);
  if (!quietly) state.dispatchEvent(new Event("address"));
}

export const refer = (card) => `${card.name}@${Number((card.start_s ?? 0).toFixed(3))}`;

export const nameIn = (reference) => reference.slice(0, reference.lastIndexOf("@"));

/** The card that a reference is to; undefined: the sound is not there. */
export const cardAt = (reference) =>
  cardNamed(nameIn(reference), Number(reference.slice(reference.lastIndexOf("@") + 1)));

// Links within the page lead there the same way.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});

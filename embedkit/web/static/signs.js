// What is written on the map: the names of its regions, and of the point under the pointer.

import { labelOf } from "./state.js";
import { clock } from "./times.js";

const AWAY = 12;  // pixels of a tip from its point

const span = (kind, text) => {
  const made = document.createElement("span");
  made.className = kind;
  made.textContent = text;
  return made;
};

/** Names in a list, each at its place; of names that would cover each other the first stays. */
export class Names {
  #list;
  #signs = [];

  constructor(list) {
    this.#list = list;
  }

  /** Of [x, y, name, ...], those that matter most first. */
  show(named) {
    this.#signs = named.filter(([, , name]) => name).map(([x, y, name]) => {
      const sign = document.createElement("li");
      sign.textContent = name;
      return { at: [x, y], sign };
    });
    this.#list.replaceChildren(...this.#signs.map(({ sign }) => sign));
  }

  draw(project) {
    const { clientWidth, clientHeight } = this.#list.parentElement;
    // As large as they are now: when they came the map may have been hidden, or the screen another.
    const reaches = this.#signs.map(({ sign }) => [sign.offsetWidth / 2 + 2, sign.offsetHeight / 2]);
    const taken = [];
    for (const [number, { at, sign }] of this.#signs.entries()) {
      const [x, y] = project(at);
      const reach = reaches[number];
      const free = x > reach[0] && y > reach[1] && x < clientWidth - reach[0]
        && y < clientHeight - reach[1] && taken.every((other) =>
        Math.abs(other.x - x) > other.reach[0] + reach[0]
        || Math.abs(other.y - y) > other.reach[1] + reach[1]);
      sign.classList.toggle("away", !free);
      if (!free) continue;
      taken.push({ x, y, reach });
      sign.style.transform = `translate(${x - reach[0]}px, ${y - reach[1]}px)`;
    }
  }
}

/** The name of a point beside it. */
export class Tip {
  #box;
  #at;

  constructor(box) {
    this.#box = box;
  }

  hide() {
    this.#box.hidden = true;
  }

  /** Of a card at a place of the plane. */
  show(card, at) {
    this.#at = at;
    this.#box.hidden = false;
    const slash = card.name.lastIndexOf("/") + 1;
    const facts = [clock(card.start_s), labelOf(card.clip)].filter((each) => each).join(" · ");
    this.#box.replaceChildren(span("name", card.name.slice(slash)),
      span("quiet", card.name.slice(0, slash)), span("quiet", facts));
  }

  draw(project) {
    if (this.#box.hidden) return;
    const [x, y] = project(this.#at);
    const { clientWidth, clientHeight } = this.#box.parentElement;
    const { offsetWidth, offsetHeight } = this.#box;
    const left = x + AWAY + offsetWidth < clientWidth ? x + AWAY : x - AWAY - offsetWidth;
    const top = y + AWAY + offsetHeight < clientHeight ? y + AWAY : y - AWAY - offsetHeight;
    this.#box.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
  }
}

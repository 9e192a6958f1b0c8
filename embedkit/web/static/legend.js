// The legend of the map: each name with its colour, shape and count; those that are pressed are shown.

import { colourNames, markOf, none, ranked, shapeAt } from "./colours.js";

export class Legend {
  #list;
  #onFilter;
  #only = new Set();
  #looks = new Map();
  #counts = [];

  /** In a list; onFilter shows the points anew. */
  constructor(list, onFilter) {
    this.#list = list;
    this.#onFilter = onFilter;
  }

  /** Of each point its name; empty: none. */
  show(names) {
    const colours = colourNames(names);
    this.#looks = new Map([...colours].map(([name, colour], index) =>
      [name, { colour, shape: shapeAt(index) }]));
    this.#counts = ranked(names);
    const others = names.length - this.#counts.reduce((sum, [, count]) => sum + count, 0);
    if (others) this.#counts.push(["", others]);
    const known = new Set(this.#counts.map(([name]) => name));
    this.#only = new Set([...this.#only].filter((name) => known.has(name)));
    this.#fill();
  }

  /** Whether points of a name are shown. */
  shows(name) {
    return !this.#only.size || this.#only.has(this.#looks.has(name) ? name : "");
  }

  /** The colour and the shape of a name. */
  looksOf(name) {
    return this.#looks.get(name) ?? { colour: none(), shape: 0 };
  }

  clear() {
    this.#only.clear();
    this.#onFilter();
  }

  get filters() {
    return this.#only.size > 0;
  }

  #fill() {
    const focused = [...this.#list.children].findIndex((item) => item.contains(document.activeElement));
    this.#list.replaceChildren(...this.#counts.map(([name, count]) => {
      const { colour, shape } = this.looksOf(name);
      const [item, entry] = [document.createElement("li"), document.createElement("button")];
      const [called, many] = [document.createElement("span"), document.createElement("span")];
      entry.type = "button";
      called.className = "of";
      called.textContent = name || "other";
      many.className = "quiet";
      many.textContent = count.toLocaleString();
      entry.append(markOf(colour, shape), called, many);
      entry.title = "Show these alone, and those that are pressed";
      entry.setAttribute("aria-pressed", this.#only.has(name));
      entry.addEventListener("click", () => {
        if (!this.#only.delete(name)) this.#only.add(name);
        this.#onFilter();
      });
      item.append(entry);
      return item;
    }));
    this.#list.children[focused]?.firstElementChild.focus();
  }
}

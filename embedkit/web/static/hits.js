// Stretches one below the other, to be answered by a key: it is there, it is not, something else.

import { addressOf } from "./address.js";
import { iconButton } from "./icons.js";
import { signOf } from "./marks.js";
import { now, play } from "./player.js";
import { cardNamed, state } from "./state.js";
import { clock, moment } from "./times.js";

const SAID = { "+": "yes", "-": "no", "?": "" };
const ANSWERS = [["+", "Yes", "Y"], ["-", "No", "N"], ["?", "Unsure", "U"]];

const element = (name, kind, ...inside) => {
  const made = document.createElement(name);
  made.className = kind;
  made.append(...inside);
  return made;
};

export class Hits {
  #list;
  #answer;
  #rows = [];
  #current = 0;

  /**
   * @param list the element: an `ol`.
   * @param answer of a stretch, a sign and the label of what is heard instead, if there is one.
   */
  constructor(list, answer) {
    this.#list = list;
    this.#answer = answer;
    list.addEventListener("keydown", (event) => this.#press(event));
    list.addEventListener("focusin", ({ target }) => {
      const at = this.#rows.findIndex(({ row }) => row.contains(target));
      if (at >= 0) this.#mark(at);
    });
    state.addEventListener("player", ({ detail: { card, sounding } }) => {
      for (const each of this.#rows) each.row.classList.toggle("sounding", sounding && each.card === card);
    });
  }

  /** Instead of those there are; the one that was current stays so. */
  show(items) {
    const focused = this.#list.contains(document.activeElement);
    this.#rows = items.map((item, at) => this.#make(item, at));
    this.#list.replaceChildren(...this.#rows.map(({ row }) => row));
    this.#mark(Math.min(this.#current, Math.max(0, items.length - 1)));
    if (focused) this.#rows[this.#current]?.row.focus();
  }

  /** From the first one on again. */
  reset() {
    this.#current = 0;
  }

  #make(item, at) {
    const card = { ...cardNamed(item.name, item.start_s), start_s: item.start_s, end_s: item.end_s };
    const hear = iconButton("play", `Play ${item.name}, ${clock(item.start_s)}`);
    hear.addEventListener("click", () => this.#play(at));
    const link = element("a", "name", item.name);
    link.href = addressOf("recording", { sound: `${item.name}@${item.start_s}`, seconds: 10 });
    const said = element("span", "tag", SAID[item.sign] ?? "");
    said.hidden = !SAID[item.sign];
    const answers = ANSWERS.map(([sign, name, key]) => {
      const made = element("button", "", name);
      made.type = "button";
      made.title = key;
      made.setAttribute("aria-pressed", item.sign === sign && sign !== "?");
      made.addEventListener("click", () => this.#give(at, sign));
      return made;
    });
    const other = element("input", "other");
    other.maxLength = 100;
    other.placeholder = "something else";
    other.setAttribute("aria-label", "What is heard instead");
    other.setAttribute("list", "mark-names");
    other.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && other.value.trim()) this.#give(at, "-", other.value.trim());
      if (event.key === "Escape") row.focus();
    });
    const when = moment(item.recorded_at);
    const row = element("li", "hit", hear, link,
      element("span", "quiet", [`${clock(item.start_s)} to ${clock(item.end_s)}`, when]
        .filter((each) => each).join(" · ")),
      element("span", "score", item.score.toFixed(3)), said,
      element("span", "answers", ...answers, other));
    row.tabIndex = -1;
    return { row, card, item, other, stops: [hear, link, ...answers, other] };
  }

  #mark(current) {
    this.#current = current;
    this.#rows.forEach(({ row, stops }, at) => {
      row.classList.toggle("current", at === current);
      row.tabIndex = at === current ? 0 : -1;
      for (const each of stops) each.tabIndex = at === current ? 0 : -1;
    });
  }

  #play(at) {
    play(this.#rows.map(({ card }) => card), at);
  }

  async #give(at, sign, other = "") {
    this.#rows[at].row.focus();
    if (!await this.#answer(this.#rows[at].item, sign, other)) return;
    const next = Math.min(at + 1, this.#rows.length - 1);
    this.#rows[next].row.focus();
    if (next !== at && now().card) this.#play(next);
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    const to = { ArrowDown: this.#current + 1, ArrowUp: this.#current - 1 }[key];
    const sign = signOf(key);
    if (to !== undefined && this.#rows[to]) {
      this.#rows[to].row.focus();
      this.#play(to);
    } else if (sign) this.#give(this.#current, sign);
    else if (key === "e") this.#rows[this.#current].other.focus();
    else if (to === undefined) return;
    event.preventDefault();
  }
}

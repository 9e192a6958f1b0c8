// Sounds as rows, each with its best seconds. The pointer and the arrow keys audition, Enter opens.

import { addressOf, refer } from "./address.js";
import { showPicture } from "./cards.js";
import { iconed } from "./icons.js";
import { now, play, stop } from "./player.js";
import { state } from "./state.js";
import { drag, keep, moreFor, starFor } from "./take.js";
import { clock, moment, place } from "./times.js";

const DWELL_MS = 250;  // that a pointer stays on a picture before it plays

const element = (name, kind, ...inside) => {
  const made = document.createElement(name);
  made.className = kind;
  made.append(...inside);
  return made;
};

/** Rows in a list, which may grow. */
export class Rows {
  #list;
  #more;
  #extras;
  #hovers;
  #keys;
  #rows = [];
  #current = 0;
  #heard;  // the card that played last

  /**
   * @param list the element: an `ol`.
   * @param options more: shows further rows, if any, when the last one is passed; extras: of a card,
   *   what else its menu has; hovers: whether the pointer plays; keys: of a key and a card, whether
   *   that did anything.
   */
  constructor(list, { more = async () => {}, extras = () => [], hovers = () => false,
    keys = () => false } = {}) {
    this.#list = list;
    this.#more = more;
    this.#extras = extras;
    this.#hovers = hovers;
    this.#keys = keys;
    list.addEventListener("keydown", (event) => this.#press(event));
    list.addEventListener("focusin", ({ target }) => {
      const at = this.#rows.findIndex(({ item }) => item.contains(target));
      if (at >= 0) this.#mark(at);
    });
    state.addEventListener("player", () => this.#follow());
    state.addEventListener("labels", () => this.#rows.forEach(({ describe }) => describe()));
    state.addEventListener("shortlist", () => this.#rows.forEach(({ star }) => star.draw()));
  }

  get length() {
    return this.#rows.length;
  }

  get names() {
    return this.#rows.map(({ sound }) => sound.name);
  }

  /** Instead of the rows there are; those that are not among known names are marked. */
  show(sounds, known) {
    const focused = this.#list.contains(document.activeElement);
    const before = this.#current;
    this.#rows = [];
    this.#current = 0;
    this.#list.replaceChildren();
    this.append(sounds);
    if (known) for (const { item, sound } of this.#rows) item.classList.toggle("new", !known.has(sound.name));
    if (focused) this.focus(Math.min(before, this.length - 1));
  }

  append(sounds) {
    const made = sounds.map((sound) => this.#make(sound));
    this.#rows.push(...made);
    this.#list.append(...made.map(({ item }) => item));
    this.#mark(this.#current);
    this.#follow();
  }

  focus(at = this.#current) {
    this.#rows[at]?.link.focus();
  }

  #make(sound) {
    const row = { sound, second: 0 };
    const card = () => ({ ...sound, ...sound.seconds[row.second] });
    const start = (second = row.second) => {
      row.second = second;
      point();
      play(this.#rows.map((each) => each.card()), this.#rows.indexOf(row));
    };
    const slash = sound.name.lastIndexOf("/") + 1;
    const picture = element("img", "shot");
    picture.loading = "lazy";
    showPicture(picture, card());
    picture.alt = "";
    this.#audition(picture, row, start);
    drag(picture, card, true);
    const link = element("a", "name", element("span", "quiet", sound.name.slice(0, slash)),
      sound.name.slice(slash));
    link.title = sound.name;
    drag(link, card, true);
    const facts = element("div", "facts quiet");
    const describe = () => {
      const about = [clock(sound.duration_s), sound.heard, state.labels[sound.name], sound.site,
        moment(sound.seconds[0].recorded_at)];
      facts.textContent = about.filter((each) => each).join(" · ");
    };
    describe();
    const chips = sound.seconds.map((second, number) => {
      const chip = element("button", "second", place(second.start_s));
      chip.type = "button";
      const near = second.similarity == null ? "" : `, ${second.similarity.toFixed(2)}`;
      chip.title = `Play ${clock(second.start_s)} to ${clock(second.end_s)}${near}`;
      chip.setAttribute("aria-label", chip.title);
      chip.addEventListener("click", () => start(number));
      drag(chip, () => ({ ...sound, ...second }), false);
      return chip;
    });
    const near = element("span", "near");
    if (sound.similarity != null) {
      const bar = element("span", "level");
      bar.style.width = `${100 * Math.min(1, Math.max(0, sound.similarity))}%`;
      near.title = sound.heard ? "How surely it is heard" : "How close its best second is";
      near.append(sound.similarity.toFixed(2), element("span", "scale", bar));
    }
    const similar = iconed(element("a", "plain"), "similar", `Closest sounds to ${sound.name}`);
    const point = () => {
      link.href = addressOf("listen", { sound: refer(card()) });
      similar.href = addressOf("search", { like: refer(card()) });
    };
    point();
    const [star, more] = [starFor(card), moreFor(card, this.#extras)];
    const item = element("li", "sound", picture,
      element("div", "what", link, facts),
      element("div", "seconds", ...chips), near, element("div", "actions", similar, star, more));
    item.dataset.name = sound.name;
    return Object.assign(row, { item, link, star, chips, card, start, describe,
      stops: [link, ...chips, similar, star, more] });
  }

  // The pointer on a picture plays its sound, and away from it stops; a click lets it play on.
  #audition(picture, row, start) {
    let waiting;
    let own = false;
    picture.addEventListener("pointerenter", ({ pointerType }) => {
      if (pointerType !== "mouse" || !this.#hovers()) return;
      waiting = setTimeout(() => {
        own = true;
        start();
      }, DWELL_MS);
    });
    picture.addEventListener("pointerleave", () => {
      clearTimeout(waiting);
      if (own && now().card?.name === row.sound.name) stop();
      own = false;
    });
    picture.addEventListener("click", () => {
      clearTimeout(waiting);
      if (!own || !now().sounding) start();
      own = false;
    });
  }

  async #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const row = this.#rows[this.#current];
    const second = { ArrowLeft: row?.second - 1, ArrowRight: row?.second + 1 }[event.key];
    const to = { ArrowDown: this.#current + 1, ArrowUp: this.#current - 1, Home: 0,
      End: this.length - 1 }[event.key];
    if (event.key === "f") keep(row.card());
    else if (second !== undefined) {
      if (row.sound.seconds[second]) row.start(second);
    } else if (to === undefined && !(row && this.#keys(event.key, row.card()))) return;
    event.preventDefault();
    if (to === undefined) return;
    if (to === this.length) await this.#more();
    if (!this.#rows[to]) return;
    this.focus(to);
    this.#rows[to].start();
  }

  // One row's controls are in the order of the Tab key: the last that was used.
  #mark(current) {
    this.#current = current;
    this.#rows.forEach(({ item, stops }, at) => {
      item.classList.toggle("current", at === current);
      for (const control of stops) control.tabIndex = at === current ? 0 : -1;
    });
  }

  // Rows show what plays; the current one goes with it when another plays, and is a person's otherwise.
  #follow() {
    const { card, sounding } = now();
    const another = card !== this.#heard;
    this.#heard = card;
    this.#rows.forEach(({ item, sound, chips }, at) => {
      const plays = sound.clip === card?.clip;
      item.classList.toggle("sounding", plays && sounding);
      chips.forEach((chip, number) => {
        const own = plays && sound.seconds[number].start_s === card.start_s;
        chip.setAttribute("aria-pressed", own);
      });
      if (!plays || !another || at === this.#current) return;
      if (this.#list.contains(document.activeElement)) this.focus(at);
      else this.#mark(at);
    });
  }
}

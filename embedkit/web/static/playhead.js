// A line over a picture: where the sound is that plays.

import { now } from "./player.js";
import { state } from "./state.js";

const audio = document.getElementById("player");

/** Moves a line along, as long as something of the span plays that `spanOf` gives. */
export function markPlace(line, spanOf) {
  const move = () => {
    const span = spanOf();
    const { card, at_s } = now();
    const inside = span && card?.clip === span.clip && at_s >= span.start_s && at_s <= span.end_s;
    line.hidden = !inside;
    if (inside) line.style.left = `${(100 * (at_s - span.start_s)) / (span.end_s - span.start_s)}%`;
    if (now().sounding && !line.closest("[hidden]")) requestAnimationFrame(move);
  };
  state.addEventListener("player", move);
  audio.addEventListener("seeked", move);
}

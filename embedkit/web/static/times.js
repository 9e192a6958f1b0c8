// Places in a sound, and lengths, as people write them.

export function place(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(1);
  return minutes ? `${minutes}:${rest.padStart(4, "0")}` : rest;
}

export const clock = (seconds) => `${place(seconds)}${seconds < 60 ? " s" : ""}`;

/** When that was by the site's clock, of the server's ISO 8601; empty: it is not known. */
export const moment = (stamp) => (stamp ? stamp.slice(0, 19).replace("T", " ") : "");

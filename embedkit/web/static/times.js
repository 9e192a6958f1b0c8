// Places in a sound, and lengths, as people write them.

export function place(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(1);
  return minutes ? `${minutes}:${rest.padStart(4, "0")}` : rest;
}

export const clock = (seconds) => `${place(seconds)}${seconds < 60 ? " s" : ""}`;

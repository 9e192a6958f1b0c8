// Axes: where their marks stand, and what is written there.

const TIMES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120,
  300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
const HERTZ = [1, 2, 5].flatMap((digit) => [1, 10, 100, 1000, 10000].map((power) => digit * power))
  .sort((a, b) => a - b);

/** Values from one to another, at most so many, that are multiples of a step of a list. */
function marks(from, to, most, steps, offset = 0) {
  const step = steps.find((each) => (to - from) / each <= most) ?? steps.at(-1);
  const values = [];
  for (let at = Math.ceil((from + offset) / step) * step - offset; at <= to; at += step) values.push(at);
  return { step, values };
}

/** Seconds of the day at which a recording began, by its site's clock; undefined: not known. */
export function dayTime(stamp) {
  if (!stamp) return undefined;
  const [hours, minutes, seconds] = stamp.slice(11, 23).split(":").map(Number);
  return 3600 * hours + 60 * minutes + seconds;
}

/** A time of a recording: by the clock, if that is known, else since its beginning. */
export function timeText(at_s, began, step = 0.01) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const shown = Number((at_s + (began ?? 0)).toFixed(digits));
  const [hours, minutes] = [Math.floor(shown / 3600), Math.floor(shown / 60) % 60];
  const seconds = (shown - 3600 * hours - 60 * minutes).toFixed(digits)
    .padStart(digits ? digits + 3 : 2, "0");
  const pad = (value) => String(value).padStart(2, "0");
  if (began !== undefined) return `${pad(hours % 24)}:${pad(minutes)}:${seconds}`;
  if (hours) return `${hours}:${pad(minutes)}:${seconds}`;
  return minutes ? `${minutes}:${seconds}` : `${Number(seconds)} s`;
}

const shares = (values, from, to, write) => values.map((value) => {
  const tick = document.createElement("span");
  tick.style.setProperty("--at", (value - from) / (to - from));
  tick.textContent = write(value);
  return tick;
});

export function drawTimes(axis, { start_s, end_s }, began) {
  const most = Math.max(2, Math.floor(axis.clientWidth / 90));
  const { step, values } = marks(start_s, end_s, most, TIMES, began);
  axis.replaceChildren(...shares(values, start_s, end_s, (at) => timeText(at, began, step)));
}

export function drawHertz(axis, low, high) {
  const { values } = marks(low, high, 6, HERTZ);
  axis.replaceChildren(...shares(values, low, high,
    (hertz) => (hertz >= 1000 ? `${hertz / 1000} kHz` : `${hertz} Hz`)));
}

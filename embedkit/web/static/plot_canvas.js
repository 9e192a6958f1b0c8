// The same points drawn without WebGL, which some machines do not have.

import { SHAPES, SPREAD } from "./shapes.js";

const NEAR = 4;  // pixels from a point at which the pointer is over it
const STILL = 3;  // pixels that a click may move by
const ZOOM = 1.4;  // of a key

// How much of each pixel each shape covers, row by row, `reach` pixels around its middle.
function masksOf(radius) {
  const reach = Math.ceil(SPREAD * radius);
  const side = Array.from({ length: 2 * reach + 1 }, (_, at) => at - reach);
  const masks = SHAPES.map(({ away }) => Float32Array.from(side.flatMap((y) => side.map((x) =>
    Math.min(1, Math.max(0, radius + 0.5 - away(x, y)))))));
  return { reach, masks };
}

/** As `plot_gl`'s. */
export function makePlot(place, { onHover, onClick, onView }) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  canvas.tabIndex = 0;
  canvas.className = "plot";
  place.prepend(canvas);
  let places = new Float32Array();
  let kinds, palette;  // of each point its looks, by number; of these the colour and the shape
  let chosen = [], ring, looks;
  let middle, scale;  // what is at the middle, and pixels of one unit
  let drawing = false;

  const project = ([x, y]) => [
    (x - middle[0]) * scale + place.clientWidth / 2,
    (middle[1] - y) * scale + place.clientHeight / 2,
  ];
  const where = (row) => project([places[2 * row], places[2 * row + 1]]);

  function home() {
    middle = [0, 0];
    scale = Math.max(100, Math.min(place.clientWidth, place.clientHeight)) / 2.5;
    draw();
  }

  function zoom(by, [x, y] = [place.clientWidth / 2, place.clientHeight / 2]) {
    const before = scale;
    scale = Math.min(2 ** 16, Math.max(2 ** 4, scale * by));
    const share = 1 / before - 1 / scale;  // what is under the pointer stays there
    middle = [middle[0] + (x - place.clientWidth / 2) * share,
      middle[1] - (y - place.clientHeight / 2) * share];
    draw();
  }

  function draw() {
    if (!drawing) requestAnimationFrame(drawNow);
    drawing = true;
  }

  function drawNow() {
    drawing = false;
    const dense = devicePixelRatio;
    [canvas.width, canvas.height] = [place.clientWidth * dense, place.clientHeight * dense];
    if (!kinds || !canvas.width || !canvas.height) return;
    onView();
    context.putImageData(dots(dense), 0, 0);
    context.scale(dense, dense);
    context.lineWidth = looks.line;
    context.strokeStyle = `rgb(${ring.slice(0, 3)})`;
    for (const row of chosen) {
      context.beginPath();
      context.arc(...where(row), looks.ringRadius - looks.line / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // Pixel by pixel: 100,000 little pictures take a canvas two seconds, and this a tenth of one.
  function dots(dense) {
    const { width, height } = canvas;
    const image = context.createImageData(width, height);
    const { data } = image;
    const { reach, masks } = masksOf(looks.radius * dense);
    const [fromX, fromY] = project([0, 0]).map((each) => each * dense);
    const by = scale * dense;
    for (let row = 0; row < kinds.length; row++) {
      const left = Math.round(fromX + places[2 * row] * by) - reach;
      const top = Math.round(fromY - places[2 * row + 1] * by) - reach;
      const right = left + 2 * reach, foot = top + 2 * reach;
      if (left < 0 || top < 0 || right >= width || foot >= height) continue;
      const { colour, shape } = palette[kinds[row]];
      if (!colour[3]) continue;
      const covers = masks[shape];
      let pixel = 0;
      for (let y = top; y <= foot; y++) {
        for (let x = left; x <= right; x++) {
          const over = (covers[pixel++] * colour[3]) / 255;
          if (!over) continue;
          const at = 4 * (y * width + x);
          const under = (data[at + 3] / 255) * (1 - over);
          const sum = over + under;
          data[at] = (colour[0] * over + data[at] * under) / sum;
          data[at + 1] = (colour[1] * over + data[at + 1] * under) / sum;
          data[at + 2] = (colour[2] * over + data[at + 2] * under) / sum;
          data[at + 3] = 255 * sum;
        }
      }
    }
    return image;
  }

  function nearest([atX, atY]) {
    const x = middle[0] + (atX - place.clientWidth / 2) / scale;
    const y = middle[1] - (atY - place.clientHeight / 2) / scale;
    let [found, least] = [-1, (looks.radius + NEAR) / scale];
    for (let row = 0; row < places.length / 2; row++) {
      if (!palette[kinds[row]].colour[3]) continue;
      const away = Math.hypot(places[2 * row] - x, places[2 * row + 1] - y);
      if (away <= least) [found, least] = [row, away];  // of two the one on top
    }
    return found;
  }

  const at = (event) => [event.offsetX, event.offsetY];
  let pressed;  // where, and whether the pointer has moved since

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pressed = { from: at(event), middle, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!pressed) {
      const row = nearest([x, y]);
      canvas.style.cursor = row < 0 ? "grab" : "pointer";
      onHover(row);
      return;
    }
    const [dx, dy] = [x - pressed.from[0], y - pressed.from[1]];
    pressed.moved ||= Math.hypot(dx, dy) > STILL;
    if (!pressed.moved) return;
    middle = [pressed.middle[0] - dx / scale, pressed.middle[1] + dy / scale];
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    const row = pressed?.moved === false ? nearest(at(event)) : -1;
    pressed = undefined;
    if (row >= 0) onClick(row);
  });
  canvas.addEventListener("pointerleave", () => onHover(-1));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(2 ** (-event.deltaY / 300), at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const by = { "+": ZOOM, "=": ZOOM, "-": 1 / ZOOM }[event.key];
    if (by && !event.ctrlKey && !event.metaKey) zoom(by);
  });
  new ResizeObserver(home).observe(place);
  home();

  return {
    paint(positions, colours, shapes) {
      places = positions;
      const words = new Uint32Array(colours.buffer);
      const looks = Float64Array.from(words, (word, row) => word * SHAPES.length + shapes[row]);
      const numbers = new Map([...new Set(looks)].map((look, number) => [look, number]));
      kinds = Uint8Array.from(looks, (look) => numbers.get(look));
      palette = [...numbers.keys()].map((look) => ({
        colour: [...new Uint8Array(Uint32Array.of(Math.floor(look / SHAPES.length)).buffer)],
        shape: look % SHAPES.length,
      }));
    },
    choose(rows, colour, how) {
      [chosen, ring, looks] = [rows, colour, how];
      draw();
    },
    project,
    unproject: ([x, y]) => [
      middle[0] + (x - place.clientWidth / 2) / scale,
      middle[1] - (y - place.clientHeight / 2) / scale,
    ],
    home,
    centre(to) {
      middle = to;
      draw();
    },
  };
}

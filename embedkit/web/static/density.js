// How dense the points are, as a tint under them: where it is dark, many lie on each other.

const SIDE = 128;  // cells, over the square of -REACH to REACH
const REACH = 1.25;
const BLUR = 2;  // cells to each side, three times over

export class Density {
  #canvas;
  #cells = document.createElement("canvas");

  constructor(canvas) {
    this.#canvas = canvas;
    [this.#cells.width, this.#cells.height] = [SIDE, SIDE];
  }

  /** Of points, two numbers each. */
  measure(points) {
    let cells = new Float32Array(SIDE * SIDE);
    const cell = (at) => Math.floor((at / REACH + 1) * SIDE / 2);
    for (let at = 0; at < points.length; at += 2) {
      cells[(SIDE - 1 - cell(points[at + 1])) * SIDE + cell(points[at])] += 1;
    }
    for (let time = 0; time < 3; time++) cells = blur(blur(cells, 1), SIDE);
    const most = cells.reduce((a, b) => Math.max(a, b), 1e-9);
    const context = this.#cells.getContext("2d");
    const image = context.createImageData(SIDE, SIDE);
    const [red, green, blue] = getComputedStyle(this.#canvas).color.match(/[\d.]+/g).map(Number);
    cells.forEach((value, at) =>
      image.data.set([red, green, blue, 255 * Math.sqrt(value / most)], 4 * at));
    context.putImageData(image, 0, 0);
  }

  draw(project) {
    const { clientWidth, clientHeight } = this.#canvas;
    Object.assign(this.#canvas, { width: clientWidth, height: clientHeight });
    const [left, top] = project([-REACH, REACH]);
    const [right, foot] = project([REACH, -REACH]);
    this.#canvas.getContext("2d").drawImage(this.#cells, left, top, right - left, foot - top);
  }
}

// The mean of each cell and of those up to BLUR steps away; what is outside counts as empty.
function blur(cells, step) {
  const out = new Float32Array(cells.length);
  for (let at = 0; at < cells.length; at++) {
    const along = Math.floor(at / step) % SIDE;
    let sum = 0;
    for (let by = -BLUR; by <= BLUR; by++) {
      if (along + by >= 0 && along + by < SIDE) sum += cells[at + by * step];
    }
    out[at] = sum / (2 * BLUR + 1);
  }
  return out;
}

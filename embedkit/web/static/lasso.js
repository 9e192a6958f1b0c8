// A line drawn around points with the pointer down. It stays on the map until others are chosen.

export class Lasso {
  #canvas;
  #outline = [];  // on the plane

  /** On a canvas over the map; onDrawn is told the line in pixels. */
  constructor(canvas, onDrawn) {
    this.#canvas = canvas;
    let path = [];
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      path = [at(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!path.length) return;
      path.push(at(event));
      this.#stroke(path);
    });
    canvas.addEventListener("pointerup", () => {
      const drawn = path;
      path = [];
      if (drawn.length > 2) onDrawn(drawn);
    });
  }

  /** Keeps a line, on the plane; an empty one: none. */
  keep(outline) {
    this.#outline = outline;
  }

  draw(project) {
    this.#stroke(this.#outline.map(project));
  }

  #stroke(path) {
    const canvas = this.#canvas;
    Object.assign(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    if (!path.length) return;
    const context = canvas.getContext("2d");
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 2;
    context.setLineDash([6, 4]);
    context.stroke(lineOf(path));
  }
}

/** Which of many places, each in pixels, are within a line. */
export function within(path, count, placeOf) {
  const line = lineOf(path);
  const context = document.createElement("canvas").getContext("2d");
  return Array.from({ length: count }, (_, row) => row)
    .filter((row) => context.isPointInPath(line, ...placeOf(row)));
}

function lineOf(path) {
  const line = new Path2D();
  path.forEach(([x, y]) => line.lineTo(x, y));
  line.closePath();
  return line;
}

// Points on a plane, drawn by WebGL.

import { PointsLayer } from "./points.js";

const NEAR = 4;  // pixels from a point at which the pointer is over it
const STILL = 3;  // pixels that a click may move by

/**
 * A plot in a place; says over which point the pointer is (-1: none), which one is clicked, and that
 * what is seen of the plane may have changed.
 */
export function makePlot(place, { onHover, onClick, onView }) {
  let places, points, chosen, looks;  // points: made anew with the colours alone, for its buffers
  const home = () => ({
    target: [0, 0, 0],
    zoom: Math.log2(Math.max(100, Math.min(place.clientWidth, place.clientHeight)) / 2.5),
    minZoom: 4, maxZoom: 16,
    revision: performance.now(),  // a new object each time: it is set again
  });
  const plot = new deck.Deck({
    parent: place,
    deviceProps: { webgl: { antialias: false } },  // the points smooth their edges themselves
    views: new deck.OrthographicView({ flipY: false }),
    initialViewState: home(),
    controller: { doubleClickZoom: false },
    onResize: () => plot?.setProps({ initialViewState: home() }),
    onAfterRender: () => plot && onView(),
    pickingRadius: NEAR,
    getCursor: ({ isHovering }) => (isHovering ? "pointer" : "grab"),
    onHover: ({ index }) => onHover(index),
  });
  // Not deck.gl's own clicks: it takes none of more than 250 ms, and without a GPU picking takes as long.
  let pressed;
  place.addEventListener("pointerdown", ({ clientX, clientY }) => { pressed = [clientX, clientY]; });
  place.addEventListener("click", ({ target, clientX, clientY, offsetX, offsetY }) => {
    const moved = Math.hypot(clientX - pressed?.[0], clientY - pressed?.[1]);
    if (target.hasAttribute("aria-hidden") || !(moved <= STILL)) return;
    const found = plot.pickObject({ x: offsetX, y: offsetY, radius: NEAR });
    if (found) onClick(found.index);
  });

  const of = (rows) => Float32Array.from(rows.flatMap((row) => [...places.subarray(2 * row, 2 * row + 2)]));
  const layerOf = (positions, colours, shapes) => ({
    length: shapes.length,
    attributes: {
      getPosition: { value: positions, size: 2 },
      getFillColor: { value: colours, size: 4, normalized: true },
      getShape: { value: shapes, size: 1 },
    },
  });
  const draw = () => plot.setProps({
    layers: [
      new PointsLayer({ id: "chosen", data: chosen, radius: looks.ringRadius, line: looks.line }),
      new PointsLayer({ id: "points", data: points, radius: looks.radius, pickable: true }),
    ],
  });

  return {
    /** Positions (2 floats a point), colours (4 bytes; alpha 0: hidden) and shapes (a float). */
    paint(positions, colours, shapes) {
      places = positions;
      points = layerOf(positions, colours, shapes);
    },
    choose(rows, ring, how) {
      looks = how;
      const colours = new Uint8Array(4 * rows.length).map((_, at) => ring[at % 4]);
      chosen = layerOf(of(rows), colours, new Float32Array(rows.length));
      draw();
    },
    project: (at) => plot.getViewports()[0]?.project(at) ?? [NaN, NaN],  // before it is drawn
    unproject: (at) => plot.getViewports()[0].unproject(at),
    home: () => plot.setProps({ initialViewState: home() }),
    centre(at) {
      const { zoom } = plot.getViewports()[0];
      plot.setProps({ initialViewState: { ...home(), target: [...at, 0], zoom } });
    },
  };
}

// Points on a plane, drawn by WebGL.

import { PointsLayer } from "./points.js";

/** A plot in a place; says over which point the pointer is (-1: none), and which one is clicked. */
export function makePlot(place, { onHover, onClick }) {
  let places, points, chosen, looks;  // points: made anew with the colours alone, for its buffers
  const home = () => ({
    target: [0, 0, 0],
    zoom: Math.log2(Math.max(100, Math.min(place.clientWidth, place.clientHeight)) / 2.3),
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
    pickingRadius: 4,
    getCursor: ({ isHovering }) => (isHovering ? "pointer" : "grab"),
    onHover: ({ index }) => onHover(index),
    onClick: ({ index }) => index >= 0 && onClick(index),
  });

  const of = (rows) => Float32Array.from(rows.flatMap((row) => [...places.subarray(2 * row, 2 * row + 2)]));
  const layerOf = (positions, colours) => ({
    length: colours.length / 4,
    attributes: {
      getPosition: { value: positions, size: 2 },
      getFillColor: { value: colours, size: 4, normalized: true },
    },
  });
  const draw = () => plot.setProps({
    layers: [
      new PointsLayer({ id: "points", data: points, radius: looks.radius, pickable: true }),
      new PointsLayer({ id: "chosen", data: chosen, radius: looks.ringRadius, line: looks.line }),
    ],
  });

  return {
    paint(positions, colours) {
      places = positions;
      points = layerOf(positions, colours);
    },
    choose(rows, ring, how) {
      looks = how;
      chosen = layerOf(of(rows), new Uint8Array(4 * rows.length).map((_, at) => ring[at % 4]));
      draw();
    },
    project: (at) => plot.getViewports()[0].project(at),
    home: () => plot.setProps({ initialViewState: home() }),
    centre(at) {
      const { zoom } = plot.getViewports()[0];
      plot.setProps({ initialViewState: { ...home(), target: [...at, 0], zoom } });
    },
  };
}

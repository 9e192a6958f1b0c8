// Shapes of points, all of one area: how far a place is from the middle, where 1 is the edge; and as a
// path of radius 5. `points.js` has the same for the GPU.

export const SPREAD = 1.4;  // of the widest one, in radii

export const SHAPES = [
  { away: (x, y) => Math.hypot(x, y), path: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z" },
  { away: (x, y) => Math.max(Math.abs(x), Math.abs(y)) / 0.886, path: "M-4.4 -4.4h8.8v8.8h-8.8z" },
  { away: (x, y) => Math.max(y, 0.866 * Math.abs(x) - y / 2) / 0.7, path: "M0 -7L6.1 3.5h-12.2z" },
  { away: (x, y) => (Math.abs(x) + Math.abs(y)) / 1.253, path: "M0 -6.3L6.3 0L0 6.3L-6.3 0z" },
];

// Colours of names: apart from each other, and the same each time.

const PALETTE = [
  [11, 110, 153], [217, 95, 2], [27, 158, 119], [196, 60, 130], [117, 112, 179], [166, 118, 29],
  [102, 166, 30], [230, 171, 2], [220, 50, 47], [0, 139, 139], [140, 86, 75], [127, 127, 127],
];
export const NONE = [150, 156, 162];

// The most frequent names get the colours; the rest share one.
export function colourNames(names) {
  const counts = new Map();
  for (const name of names) if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  const ranked = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return new Map(ranked.slice(0, PALETTE.length).map(([name], index) => [name, PALETTE[index]]));
}

export function legend(list, colours, rest) {
  const items = [...colours].map(([name, colour]) => entry(name, colour));
  if (rest) items.push(entry(rest, NONE));
  list.replaceChildren(...items);
}

function entry(name, colour) {
  const item = document.createElement("li");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  for (const [key, value] of Object.entries({ cx: 5, cy: 5, r: 5, fill: `rgb(${colour})` })) {
    dot.setAttribute(key, value);
  }
  svg.setAttribute("viewBox", "0 0 10 10");
  svg.append(dot);
  item.append(svg, name);
  return item;
}

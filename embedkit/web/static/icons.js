// Small pictures, of icons.svg.

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `icons.svg#${name}`);
  made.append(use);
  return made;
}

/** A link or a button with a picture, and words for who does not see it. */
export function iconed(made, picture, label) {
  made.setAttribute("aria-label", label);
  made.title = label;
  made.append(icon(picture));
  return made;
}

export function iconButton(picture, label) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  return iconed(made, picture, label);
}

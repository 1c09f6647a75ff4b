// Elements made without ever reading text as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element of a class with children: text, nodes, or nothing. */
export function element(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Return the icon of this name; its drawing is a symbol in the page. */
export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon i-${name} ${className}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Return an svg shape in a view box of 16 × 16. */
export function drawing(className, ...shapes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("viewBox", "0 0 16 16");
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
  }
  return svg;
}

/** Set positions: the only styles that are not in a stylesheet. */
export function place(node, styles) {
  for (const [property, value] of Object.entries(styles)) node.style.setProperty(property, value);
}

/** Whether the reader is writing: then no key of ours works. */
export function isWriting(target) {
  return target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]") !== null;
}

/** Tell a screen reader. */
export function announce(text) {
  const region = document.querySelector("[data-announce]");
  if (region !== null) region.textContent = text;
}

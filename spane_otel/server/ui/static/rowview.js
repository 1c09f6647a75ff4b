// A row of the waterfall, drawn from the model that the service worked out.

import { element, icon } from "./dom.js";
import { count, duration } from "./wording.js";

const GUIDE_LEVELS = 16;

/** Return a new row. `closed`: its branch is hidden. */
export function makeRow(row, index, position, closed) {
  const service = ((row.service ?? 0) % 8) + 1;
  const flags = `${row.origin ? " origin" : ""}${row.inherited ? " inherited" : ""}`;
  const lane = element("div", "lane");
  lane.setAttribute("role", "gridcell");
  lane.setAttribute("aria-hidden", "true");
  const node = element("div", `row ${row.kind} ${row.state} s${service}${flags}`, makeTree(row, closed), lane);
  node.setAttribute("role", "row");
  node.id = `row-${row.key}`; // not the address's fragment: the browser would scroll to it by itself
  node.dataset.key = row.key;
  node.dataset.index = String(index);
  node.setAttribute("aria-level", String((row.depth ?? 0) + 1));
  node.setAttribute("aria-rowindex", String(position + 2));
  node.setAttribute("aria-label", row.sentence ?? row.name);
  node.tabIndex = -1;
  if (row.children) node.setAttribute("aria-expanded", String(!closed));
  return node;
}

function makeTree(row, closed) {
  const chevron = element("span", "chevron", row.children ? icon("chevron") : null);
  const shown = row.kind !== "span" || row.state !== "completed";
  const name = element("span", "name", row.name);
  name.title = row.detail ? `${row.name} ${row.detail}` : row.name;
  const tree = element("div", "tree", ...makeGuides(row), chevron, shown ? icon(row.state) : null, name);
  tree.setAttribute("role", "gridcell");
  if (row.sub) tree.append(icon("sub", "sub"));
  if (row.detail) tree.append(element("span", "detail", row.detail));
  for (const tag of row.tags ?? []) tree.append(element("span", "tag", tag));
  if (closed) tree.append(element("span", "chip", count(row.below)));
  if (row.failures && row.depth) tree.append(element("span", "chip bad", icon("failed"), count(row.failures)));
  const took = element("span", "took", row.duration ?? "");
  if (row.end !== undefined) took.title = `${count(Math.max(row.end - row.start, 0))} ns`;
  tree.append(took);
  return tree;
}

function makeGuides(row) {
  const levels = Math.min(row.depth ?? 0, GUIDE_LEVELS);
  const cells = [];
  for (let level = 0; level < levels - 1; level++) cells.push(element("i", (row.guides ?? 0) & (1 << level) ? "g v" : "g"));
  if (levels) cells.push(element("i", (row.last ?? true) ? "g e" : "g t"));
  return cells;
}

/** Write how long a running row has taken. */
export function tickRow(node, row, now) {
  if (row.state !== "running") return;
  const text = duration(Math.max(now - row.start, 0), true);
  const took = node.querySelector(".took");
  if (took.textContent !== text) took.textContent = text;
}

// What stands in a lane: the bar of a span, its marks, and one label.

import { drawing, element, icon, place } from "./dom.js";
import { clockTime } from "./moments.js";

const LABEL_GAP = 6;
const MARK_WIDTH = 8;
const LEAST_MARKED = 16;
const GRAVITY = { debug: 0, info: 1, event: 2, warning: 3, error: 4 };

const SHAPES = {
  debug: ["circle", { cx: 8, cy: 8, r: 3.5, fill: "currentColor" }],
  info: ["circle", { cx: 8, cy: 8, r: 5, fill: "currentColor" }],
  event: ["rect", { x: 4, y: 4, width: 8, height: 8, rx: 1.5, fill: "none", stroke: "currentColor", "stroke-width": 2.6 }],
  warning: ["path", { d: "M8 1.5L15.5 14.5H.5z", fill: "currentColor" }],
  error: ["path", { d: "M8 .5L15.5 8 8 15.5.5 8z", fill: "currentColor" }],
};

const measure = document.createElement("canvas").getContext("2d");
let measuredFont = "";

/** Return the width of a label, in pixels. */
function labelWidth(text, lane) {
  if (!measuredFont) measuredFont = `11px ${getComputedStyle(lane).fontFamily}`;
  measure.font = measuredFont;
  return measure.measureText(text).width + 8;
}

/** Return where a row's bar ends: at its end, at the last heartbeat, at the present. */
export function barEnd(row, now) {
  if (row.end !== undefined) return Math.max(row.end, row.start);
  if (row.state === "abandoned") return row.seen ?? row.start;
  return row.state === "running" ? Math.max(now, row.start) : row.start;
}

/** Draw a row's lane anew. */
export function drawLane(lane, row, axis, now, baseNs) {
  const parts = [];
  const end = barEnd(row, now);
  if (row.kind !== "missing" && row.state !== "skipped") {
    if (row.end === undefined && row.state === "open") {
      const start = element("i", "start");
      place(start, { left: `${axis.percent(row.start)}%` });
      parts.push(start);
    } else {
      const bar = element("i", "bar");
      placeBar(bar, row, axis, end);
      parts.push(bar);
    }
    if (row.state === "abandoned") {
      const since = element("i", "since");
      const until = Math.min(now, axis.end);
      place(since, { left: `${axis.percent(end)}%`, width: `${axis.percent(until) - axis.percent(end)}%` });
      parts.push(since);
    }
    parts.push(...drawMarks(row, axis, end));
  }
  parts.push(drawLabel(lane, row, axis, end, baseNs));
  lane.replaceChildren(...parts.filter((part) => part !== null));
}

/** Move a bar. */
export function placeBar(bar, row, axis, end) {
  const left = axis.percent(row.start);
  place(bar, { left: `${left}%`, width: `${Math.max(axis.percent(end) - left, 0)}%` });
  const least = row.origin ? 4 : 2;
  if (axis.width - axis.pixels(row.start) < least) place(bar, { left: `calc(100% - ${least}px)` });
}

function drawMarks(row, axis, end) {
  if (!row.marks || axis.pixels(end) - axis.pixels(row.start) < LEAST_MARKED) return [];
  const groups = [];
  for (const [ns, kind] of row.marks) {
    const x = axis.pixels(ns);
    const last = groups[groups.length - 1];
    if (last !== undefined && x - last.x < MARK_WIDTH) {
      last.count += 1;
      if (GRAVITY[kind] > GRAVITY[last.kind]) last.kind = kind;
    } else groups.push({ x, ns, kind, count: 1 });
  }
  return groups.map(({ ns, kind, count }) => {
    const [tag, attributes] = SHAPES[kind];
    const { fill, stroke, ...outline } = attributes;
    const mark = drawing(`mark ${kind}`, [tag, { ...outline, class: "halo" }], [tag, attributes]);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = count > 1 ? `${count}, the gravest: ${kind}` : kind;
    mark.append(title);
    place(mark, { left: `${axis.percent(ns)}%` });
    return mark;
  });
}

function labelOf(row, baseNs) {
  if (row.state === "abandoned") {
    if (row.seen === undefined) return null;
    return ["lost", `last heartbeat ${clockTime(String(BigInt(baseNs) + BigInt(row.seen)))}`, "abandoned"];
  }
  if (!row.label) return null;
  return row.origin ? ["bad", row.label, "failed"] : ["", row.label, ""];
}

/** One label: right of the bar if it fits, else left of it, else none. */
function drawLabel(lane, row, axis, end, baseNs) {
  const label = labelOf(row, baseNs);
  if (label === null) return null;
  const [tone, text, sign] = label;
  const width = labelWidth(text, lane) + (sign ? 15 : 0);
  const node = element("span", `label ${tone}`, sign ? icon(sign) : null, text);
  const least = row.origin ? 4 : 2;
  const right = Math.max(axis.pixels(end), axis.pixels(row.start) + least) + LABEL_GAP;
  if (right + width <= axis.width) place(node, { left: `${right}px` });
  else if (axis.pixels(row.start) - LABEL_GAP - width >= 0) {
    place(node, { right: `${axis.width - axis.pixels(row.start) + LABEL_GAP}px` });
  } else return null;
  return node;
}

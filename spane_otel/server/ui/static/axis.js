// The time axis: what of it is seen, its ruler, and the lines through all rows.

import { element, icon, place } from "./dom.js";
import { offset } from "./wording.js";

const MOST_TICKS = 9;
const TICK_WIDTH = 72;
/** Name, nanoseconds, and from how many of it on an axis is written in it. */
const UNITS = [["ns", 1, 0], ["µs", 1e3, 1], ["ms", 1e6, 1], ["s", 1e9, 1], ["min", 60e9, 5], ["h", 3600e9, 5], ["d", 86400e9, 5]];

/** Return the distance of ticks: 1, 2 or 5 × 10ⁿ of one unit, at most nine of them, and the unit. */
export function tickStep(length, width) {
  const most = Math.max(4, Math.min(MOST_TICKS, Math.floor(width / TICK_WIDTH)));
  const unit = UNITS.findLast(([, ns, least]) => ns * least <= length) ?? UNITS[0];
  for (let power = unit[1] === 1 ? 1 : 0.01; ; power *= 10) {
    for (const factor of [1, 2, 5]) {
      const step = factor * power * unit[1];
      if (length / step <= most) return [step, unit];
    }
  }
}

export class Axis {
  constructor(ruler, lines) {
    this.ruler = ruler;
    this.lines = lines;
    this.end = 1;
    this.width = 1;
    this.flag = element("span", "flag");
    this.cross = element("i", "cross");
    this.now = element("i", "now");
    this.later = element("i", "later");
    this.flag.hidden = this.cross.hidden = this.now.hidden = this.later.hidden = true;
  }

  /** Take over a model; while something runs there is room for it to grow. */
  setModel(model, now) {
    const reached = model.live ? Math.max(model.length, now) : model.length;
    if (!model.live) this.end = reached;
    else if (reached > this.end * 0.98 || this.end > reached * 1.6) this.end = reached * 1.12;
    this.broke = model.broke ?? null;
    this.total = model.length;
  }

  /** Return where a moment is, in percent of the lane. */
  percent(ns) {
    return Math.min(Math.max((ns / this.end) * 100, 0), 100);
  }

  pixels(ns) {
    return (this.percent(ns) / 100) * this.width;
  }

  draw(width) {
    this.width = Math.max(width, 1);
    const [step, [name, unit]] = tickStep(this.end, this.width);
    const ticks = [];
    const lines = [];
    for (let ns = 0; ns <= this.end; ns += step) {
      const tick = element("span", "tick", this.pixels(ns) < this.width - 36 ? `${trim(ns / unit)} ${name}` : "");
      place(tick, { left: `${this.percent(ns)}%` });
      ticks.push(tick);
      const line = element("i");
      place(line, { left: `${this.percent(ns)}%` });
      if (ns > 0) lines.push(line);
    }
    if (this.broke !== null) {
      const mark = icon("log-error", "broke");
      place(mark, { left: `clamp(0.4375rem, ${this.percent(this.broke)}%, 100% - 0.4375rem)` }); // whole at either end
      ticks.push(mark);
      const line = element("i", "broke");
      place(line, { left: `${this.percent(this.broke)}%` });
      lines.push(line);
    }
    this.ruler.replaceChildren(...ticks, this.flag);
    this.lines.replaceChildren(this.later, ...lines, this.now, this.cross);
  }

  /** Move the line of the present; null where nothing runs. */
  setNow(ns) {
    this.now.hidden = this.later.hidden = ns === null;
    if (ns === null) return;
    place(this.now, { left: `${this.percent(ns)}%` });
    place(this.later, { left: `${this.percent(ns)}%`, right: "0" });
  }

  /** Show the time under the pointer; null hides it. */
  point(x) {
    this.flag.hidden = this.cross.hidden = x === null;
    if (x === null) return;
    const share = Math.min(Math.max(x / this.width, 0), 1);
    this.flag.textContent = offset(share * this.end, this.total);
    const half = this.flag.offsetWidth / 2;
    place(this.flag, { left: `${Math.min(Math.max(share * this.width, half), this.width - half)}px` });
    place(this.cross, { left: `${share * 100}%` });
  }
}

function trim(number) {
  return String(Math.round(number * 1000) / 1000);
}

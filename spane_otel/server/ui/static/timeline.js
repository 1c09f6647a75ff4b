// The waterfall: which rows are seen, which is selected, and keeping both while the trace grows.

import { Axis } from "./axis.js";
import { barEnd, drawLane, placeBar } from "./bars.js";
import { announce, element, place } from "./dom.js";
import { loadJson, partUrl } from "./loading.js";
import { nowMs } from "./moments.js";
import { Panel } from "./panel.js";
import { makeRow, tickRow } from "./rowview.js";

const OVERSCAN = 20;
const WIDE = matchMedia("(min-width: 1101px)");

export class Timeline {
  constructor(main) {
    this.root = main.querySelector("[data-timeline]");
    this.container = this.root.querySelector("[data-rows]");
    this.lines = element("div", "grid-lines");
    this.axis = new Axis(this.root.querySelector("[data-ruler]"), this.lines);
    this.panel = new Panel(this.root, () => this.closePanel());
    this.model = { rows: [], length: 1, now: 0, live: false, base_ns: "0" };
    this.closed = new Map();
    this.nodes = new Map();
    this.shown = [];
    this.selected = null;
    this.focused = null;
    this.filter = "";
    this.failed = [];
    this.listen();
    this.ready = this.start();
  }

  listen() {
    this.onScroll = () => this.paint();
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(this.container);
    addEventListener("scroll", this.onScroll, { passive: true });
    this.onHash = () => this.selectFromHash();
    addEventListener("hashchange", this.onHash);
    this.container.addEventListener("click", (event) => this.onClick(event));
    this.container.addEventListener("dblclick", (event) => this.onDoubleClick(event));
    this.container.addEventListener("focusin", (event) => {
      const node = event.target.closest?.("[role=row]");
      if (node) this.focused = node.dataset.key;
    });
    this.container.addEventListener("pointermove", (event) => this.onPointer(event));
    this.container.addEventListener("pointerleave", () => this.axis.point(null));
    this.root.querySelector("[data-filter]").addEventListener("input", (event) => this.setFilter(event.target.value));
    this.root.querySelector("[data-marks]").addEventListener("change", (event) => {
      this.container.classList.toggle("no-marks", !event.target.checked);
    });
    this.root.querySelector("[data-errors]").addEventListener("click", (event) => {
      const button = event.target.closest("[data-step]");
      if (button) this.stepError(Number(button.dataset.step));
    });
  }

  async start() {
    const model = JSON.parse(this.root.dataset.model);
    this.failed = this.root.dataset.failed.split(" ").filter(Boolean);
    this.setModel(model.rows.length || !this.container.children.length ? model : await loadJson(partUrl("rows")));
    this.container.classList.add("windowed");
    this.layout();
    const explained = document.querySelector("#main .wrong") !== null;
    if (!this.selectFromHash() && explained && this.model.origin) {
      this.select(this.model.origin, { scroll: false, open: WIDE.matches });
    }
  }

  /** Take over the timeline of a page fetched again. */
  async update(fetched) {
    await this.ready;
    const next = fetched.querySelector("[data-timeline]");
    if (next === null) return;
    const model = JSON.parse(next.dataset.model);
    const long = model.rows.length === 0 && fetched.querySelector("[data-rows] [role=row]") !== null;
    this.failed = next.dataset.failed.split(" ").filter(Boolean);
    const errors = this.root.querySelector("[data-errors]");
    errors.hidden = this.failed.length === 0;
    errors.querySelector("b").textContent = String(this.failed.length);
    for (const note of this.root.querySelectorAll(".truncated")) note.remove();
    this.root.querySelector(".waterfall").append(...[...next.querySelectorAll(".truncated")].map((note) => document.adoptNode(note)));
    const before = this.selected === null ? "" : JSON.stringify(this.rowOf(this.selected));
    this.setModel(long ? await loadJson(partUrl("rows")) : model);
    this.layout();
    if (this.selected !== null && JSON.stringify(this.rowOf(this.selected)) !== before) this.panel.refresh();
  }

  setModel(model) {
    const old = new Map(this.model.rows.map((row) => [row.key, row]));
    this.model = model;
    this.byKey = new Map(model.rows.map((row, index) => [row.key, index]));
    for (const row of model.rows) {
      if (!this.closed.has(row.key)) this.closed.set(row.key, row.closed ?? false);
      const before = old.get(row.key);
      if (before !== undefined && JSON.stringify(before) !== JSON.stringify(row)) {
        const node = this.nodes.get(row.key);
        if (node !== undefined) node.stale = before.state !== row.state ? "state" : "content";
      }
    }
    this.receivedMs = nowMs();
    this.axis.setModel(model, this.now());
    this.computeShown();
  }

  rowOf(key) {
    return this.model.rows[this.byKey.get(key)];
  }

  /** Return the present on the axis. */
  now() {
    return nowMs() * 1e6 - Number(BigInt(this.model.base_ns) / 1000n) * 1e3;
  }

  computeShown() {
    const hidden = new Uint8Array(this.model.rows.length);
    this.shown = [];
    this.model.rows.forEach((row, index) => {
      const parent = row.parent ?? -1;
      hidden[index] = parent >= 0 && (hidden[parent] || this.closed.get(this.model.rows[parent].key)) ? 1 : 0;
      if (!hidden[index]) this.shown.push(index);
    });
    this.position = new Map(this.shown.map((index, position) => [index, position]));
  }

  layout() {
    const probe = getComputedStyle(this.root);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.rowHeight = parseFloat(probe.getPropertyValue("--row")) * rem || 24;
    place(this.container, { height: `${this.shown.length * this.rowHeight}px` });
    this.container.setAttribute("aria-rowcount", String(this.shown.length + 1));
    if (this.lines.parentElement !== this.container) this.container.replaceChildren(this.lines);
    this.axis.draw(this.lines.clientWidth);
    this.axis.setNow(this.model.live ? this.now() : null);
    for (const node of this.nodes.values()) node.drawn = false;
    this.paint();
  }

  /** Draw the rows in view and some on each side; those that went out of view are let go. */
  paint() {
    if (!this.rowHeight) return;
    const top = -this.container.getBoundingClientRect().top;
    const first = Math.max(Math.floor(top / this.rowHeight) - OVERSCAN, 0);
    const last = Math.min(Math.ceil((top + innerHeight) / this.rowHeight) + OVERSCAN, this.shown.length);
    const wanted = new Set();
    for (let position = first; position < last; position++) wanted.add(this.model.rows[this.shown[position]].key);
    if (this.focused !== null && this.position?.has(this.byKey.get(this.focused))) wanted.add(this.focused);
    for (const [key, node] of this.nodes) {
      if (wanted.has(key)) continue;
      node.remove();
      this.nodes.delete(key);
    }
    for (const key of wanted) this.drawRow(key);
    this.setTabStop();
  }

  drawRow(key) {
    const index = this.byKey.get(key);
    const row = this.model.rows[index];
    const position = this.position.get(index);
    let node = this.nodes.get(key);
    if (node === undefined || node.stale) {
      const fresh = makeRow(row, index, position, Boolean(this.closed.get(key) && row.children));
      if (node?.stale === "state") fresh.classList.add("changed");
      const hadFocus = node !== undefined && node === document.activeElement;
      if (node === undefined) this.container.append(fresh);
      else node.replaceWith(fresh);
      node = fresh;
      this.nodes.set(key, node);
      if (hadFocus) node.focus({ preventScroll: true });
    }
    place(node, { top: `${position * this.rowHeight}px` });
    node.dataset.index = String(index);
    node.setAttribute("aria-rowindex", String(position + 2));
    node.setAttribute("aria-selected", String(key === this.selected));
    node.classList.toggle("dim", this.filter !== "" && !this.matches(row));
    if (node.drawn) return;
    drawLane(node.lastElementChild, row, this.axis, this.now(), this.model.base_ns);
    tickRow(node, row, this.now());
    node.drawn = true;
  }

  /** One row can be reached by Tab: the focused one, else the selected one, else the first. */
  setTabStop() {
    const shown = (key) => key !== null && this.nodes.has(key);
    const first = this.shown.length ? this.model.rows[this.shown[0]].key : null;
    const stop = [this.focused, this.selected, first].find(shown) ?? this.nodes.keys().next().value;
    for (const [key, node] of this.nodes) node.tabIndex = key === stop ? 0 : -1;
  }

  tick() {
    if (!this.model.live) return;
    const now = this.now();
    if (now > this.axis.end * 0.98) {
      this.axis.setModel(this.model, now);
      this.layout();
    }
    this.axis.setNow(now);
    for (const [key, node] of this.nodes) {
      const row = this.rowOf(key);
      if (row.state !== "running") continue;
      tickRow(node, row, now);
      const bar = node.querySelector(".bar");
      if (bar !== null) placeBar(bar, row, this.axis, barEnd(row, now));
    }
  }

  /** Select a row, open what hides it, and show its panel. */
  select(key, { scroll = true, open = true, focus = false, section = null } = {}) {
    const index = this.byKey.get(key);
    if (index === undefined) return false;
    let reveal = false;
    for (let parent = this.model.rows[index].parent ?? -1; parent >= 0; parent = this.model.rows[parent].parent ?? -1) {
      if (this.closed.get(this.model.rows[parent].key)) {
        this.setClosed(parent, false);
        reveal = true;
      }
    }
    if (reveal) this.relayout();
    this.selected = key;
    if (open) {
      history.replaceState(null, "", `#${key}`);
      this.panel.show(key, section);
      this.root.classList.add("with-panel");
    }
    if (scroll) this.scrollTo(index);
    this.layout();
    if (focus) this.focus(key);
    return true;
  }

  selectFromHash() {
    const key = decodeURIComponent(location.hash.slice(1));
    return key !== "" && key !== this.selected && this.select(key);
  }

  closePanel() {
    this.root.classList.remove("with-panel");
    history.replaceState(null, "", location.pathname + location.search);
    this.layout();
    if (this.selected !== null) this.focus(this.selected);
  }

  scrollTo(index) {
    const top = this.position.get(index) * this.rowHeight + this.container.getBoundingClientRect().top;
    const frame = 44 + 26 + this.rowHeight;
    const bottom = innerHeight - (this.root.classList.contains("with-panel") && !WIDE.matches ? innerHeight * 0.45 : 0);
    if (top < frame) scrollBy({ top: top - frame - 2 * this.rowHeight });
    else if (top + this.rowHeight > bottom) scrollBy({ top: top + this.rowHeight - bottom + 2 * this.rowHeight });
  }

  focus(key) {
    this.focused = key;
    this.paint();
    this.nodes.get(key)?.focus({ preventScroll: true });
    this.setTabStop();
  }

  setClosed(index, closed) {
    const { key } = this.model.rows[index];
    this.closed.set(key, closed);
    const node = this.nodes.get(key);
    if (node !== undefined) node.stale = "content";
  }

  relayout() {
    this.computeShown();
    this.layout();
  }

  setFilter(text) {
    this.filter = text.trim().toLowerCase();
    const found = this.filter === "" ? "" : `${this.model.rows.filter((row) => this.matches(row)).length} of ${this.model.rows.length}`;
    this.root.querySelector("[data-found]").textContent = found;
    this.paint();
  }

  matches(row) {
    return `${row.name} ${row.detail ?? ""}`.toLowerCase().includes(this.filter);
  }

  stepError(step) {
    if (!this.failed.length) return;
    const order = this.failed.map((key) => this.byKey.get(key)).filter((index) => index !== undefined).sort((a, b) => a - b);
    const at = this.selected === null ? -1 : this.byKey.get(this.selected);
    const next = step > 0 ? order.find((index) => index > at) ?? order[0] : order.findLast((index) => index < at) ?? order[order.length - 1];
    const { key, sentence } = this.model.rows[next];
    this.select(key, { focus: true });
    announce(sentence);
  }

  onClick(event) {
    const node = event.target.closest("[role=row]");
    if (node === null) return;
    const index = Number(node.dataset.index);
    const row = this.model.rows[index];
    if (event.target.closest(".chevron") && row.children) {
      this.setClosed(index, !this.closed.get(row.key));
      this.relayout();
      this.focus(row.key);
      return;
    }
    if (getSelection()?.isCollapsed === false) return;
    this.select(row.key, { scroll: false, focus: true });
  }

  onDoubleClick(event) {
    const index = Number(event.target.closest("[role=row]")?.dataset.index ?? -1);
    if (index < 0 || !this.model.rows[index].children || event.target.closest(".chevron")) return;
    this.setClosed(index, !this.closed.get(this.model.rows[index].key));
    this.relayout();
  }

  onPointer(event) {
    if (event.pointerType !== "mouse" || innerWidth <= 640) return;
    const box = this.lines.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right;
    this.axis.point(inside ? event.clientX - box.left : null);
  }

  /** Keys of the tree (WAI-ARIA treegrid) and of the page. */
  onKey(event) {
    if (event.key === "e" || event.key === "E") return this.stepError(event.key === "e" ? 1 : -1);
    if (event.key === "f") {
      event.preventDefault();
      return this.root.querySelector("[data-filter]").focus();
    }
    if (event.key === "Escape" && this.root.classList.contains("with-panel")) return this.panel.close();
    const inTree = this.container.contains(document.activeElement);
    const start = this.byKey?.get(inTree ? document.activeElement.dataset.key : this.selected);
    const at = this.position?.get(start);
    const target = this.targetOf(event, at, start, inTree);
    if (target === undefined) return undefined;
    event.preventDefault();
    if (target === null) return undefined;
    this.scrollTo(target);
    return this.focus(this.model.rows[target].key);
  }

  /** Return the row that a key leads to, null where the key did something else, undefined where it is not ours. */
  targetOf(event, at, index, inTree) {
    const step = { j: 1, k: -1 }[event.key] ?? (inTree ? { ArrowDown: 1, ArrowUp: -1 }[event.key] : undefined);
    if (step !== undefined) return this.shown[at === undefined ? 0 : Math.min(Math.max(at + step, 0), this.shown.length - 1)];
    if (!inTree || at === undefined) return undefined;
    const row = this.model.rows[index];
    const closed = this.closed.get(row.key);
    const parent = row.parent ?? -1;
    switch (event.key) {
      case "Home":
        return this.shown[0];
      case "End":
        return this.shown[this.shown.length - 1];
      case "p":
        return parent >= 0 ? parent : null;
      case "Enter":
        this.select(row.key, { scroll: false });
        this.panel.focusWhenShown();
        return null;
      case "ArrowRight":
        if (!row.children) return null;
        if (!closed) return index + 1;
        break;
      case "ArrowLeft":
        if (!row.children || closed) return parent >= 0 ? parent : null;
        break;
      default:
        return undefined;
    }
    this.setClosed(index, !closed);
    this.relayout();
    this.focus(row.key);
    return null;
  }

  stop() {
    this.observer.disconnect();
    removeEventListener("scroll", this.onScroll);
    removeEventListener("hashchange", this.onHash);
  }
}

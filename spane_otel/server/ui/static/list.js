// The lists: rows that change stay in place, new rows wait while the reader is at work.

import { announce } from "./dom.js";
import { localise, sinceNs, tick } from "./moments.js";

export class List {
  constructor(main) {
    this.main = main;
    this.body = main.querySelector("[data-list] tbody");
    this.table = main.querySelector("[data-list]");
    this.pristine = new Map();
    this.waiting = [];
    this.pointerIn = false;
    for (const row of this.body.rows) this.pristine.set(row.dataset.key, row.cloneNode(true));
    this.onPointer = (event) => {
      this.pointerIn = event.target instanceof Element && event.target.closest("[data-list], .summary") !== null;
    };
    document.addEventListener("pointerover", this.onPointer);
    this.onLeave = () => (this.pointerIn = false);
    document.documentElement.addEventListener("pointerleave", this.onLeave);
    main.addEventListener("click", (event) => {
      if (event.target.closest("[data-new]")) {
        this.showNew();
        scrollTo({ top: 0 });
      }
    });
    this.drawBars();
  }

  /** Whether rows that appear now would move under the reader. */
  isBusy() {
    const selection = getSelection();
    const selecting = selection !== null && !selection.isCollapsed;
    return this.pointerIn || selecting || scrollY > 40 || this.body.contains(document.activeElement);
  }

  /** Take over what the list is now. */
  update(fetched) {
    const next = fetched.querySelector("[data-list] tbody");
    if (next === null) return;
    const known = new Map([...this.body.rows].map((row) => [row.dataset.key, row]));
    const fresh = [];
    const listed = new Set();
    for (const row of [...next.rows]) {
      listed.add(row.dataset.key);
      const old = known.get(row.dataset.key);
      if (old === undefined) fresh.push(row);
      else if (!this.pristine.get(row.dataset.key)?.isEqualNode(row)) this.replaceRow(old, row);
    }
    const newest = this.newestStart();
    for (const [key, row] of known) {
      const gone = !listed.has(key) && (next.rows.length < 100 || BigInt(row.dataset.startNs) > this.oldest(next));
      if (gone) {
        row.remove();
        this.pristine.delete(key);
      }
    }
    if (this.table.hasAttribute("data-older")) return;
    this.waiting = fresh.filter((row) => newest === null || BigInt(row.dataset.startNs) >= newest || this.body.rows.length < 100);
    if (this.isBusy()) this.offerNew();
    else this.showNew();
    this.drawBars();
  }

  oldest(body) {
    return BigInt(body.rows[body.rows.length - 1]?.dataset.startNs ?? "0");
  }

  newestStart() {
    const first = this.body.rows[this.body.rows.length - 1];
    return first === undefined ? null : BigInt(first.dataset.startNs);
  }

  replaceRow(old, row) {
    const adopted = document.adoptNode(row);
    this.pristine.set(adopted.dataset.key, adopted.cloneNode(true));
    const focused = old.contains(document.activeElement);
    if (old.className !== adopted.className) {
      announce(`${adopted.querySelector("a.name").textContent}: ${adopted.className}`);
      adopted.classList.add("changed");
    }
    localise(adopted);
    old.replaceWith(adopted);
    if (focused) adopted.querySelector("a.name").focus({ preventScroll: true });
  }

  offerNew() {
    const button = this.main.querySelector("[data-new]");
    if (button === null) return;
    button.hidden = this.waiting.length === 0;
    const words = `${this.waiting.length} new`;
    if (button.lastElementChild.textContent !== words) {
      button.lastElementChild.textContent = words;
      if (this.waiting.length) announce(words);
    }
  }

  showNew() {
    for (const row of this.waiting) {
      const adopted = document.adoptNode(row);
      this.pristine.set(adopted.dataset.key, adopted.cloneNode(true));
      localise(adopted);
      const start = BigInt(adopted.dataset.startNs);
      const after = [...this.body.rows].find((each) => BigInt(each.dataset.startNs) < start);
      this.body.insertBefore(adopted, after ?? null);
    }
    this.waiting = [];
    while (this.body.rows.length > 400) this.body.lastElementChild.remove();
    this.offerNew();
    this.drawBars();
  }

  durationOf(row) {
    if (row.dataset.durationNs !== undefined) return Number(row.dataset.durationNs);
    return row.hasAttribute("data-unknown") ? null : sinceNs(row.dataset.startNs);
  }

  /** One scale for the page: to the longest row, but at most to three times the upper quartile. */
  drawBars() {
    const rows = [...this.body.rows].map((row) => [row, this.durationOf(row)]).filter(([, ns]) => ns !== null);
    const sorted = rows.map(([, ns]) => ns).sort((a, b) => a - b);
    if (!sorted.length) return;
    const quartile = sorted[Math.floor((sorted.length - 1) * 0.75)];
    const end = Math.max(Math.min(sorted[sorted.length - 1], 3 * quartile), 1);
    for (const [row, ns] of rows) {
      const fill = row.querySelector(".fill");
      fill.hidden = false;
      fill.classList.toggle("long", ns > end);
      fill.style.setProperty("width", `${Math.min(ns / end, 1) * 100}%`);
    }
  }

  tick() {
    tick(this.body);
    if (this.body.querySelector(".running") !== null) this.drawBars();
    if (this.waiting.length && !this.isBusy()) this.showNew();
  }

  /** Move the focus between rows. */
  onKey(event) {
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (event.key === "r") this.showNew();
    if (step === undefined) return;
    const links = [...this.body.querySelectorAll("a.name")];
    const at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
    next.closest("tr").scrollIntoView({ block: "nearest" });
  }

  stop() {
    document.removeEventListener("pointerover", this.onPointer);
    document.documentElement.removeEventListener("pointerleave", this.onLeave);
  }
}

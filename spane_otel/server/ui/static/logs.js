// The Logs tab: new records are appended, kinds hidden, text found.

import { localise } from "./moments.js";

export class Logs {
  constructor(main) {
    this.main = main;
    this.list = main.querySelector("[data-logs]");
    this.keys = new Set([...this.list.querySelectorAll("[data-key]")].map((node) => node.dataset.key));
    this.hidden = new Set();
    this.text = "";
    main.querySelector("[data-logs-bar]").addEventListener("change", (event) => {
      const { kind } = event.target.dataset;
      if (kind === undefined) return;
      if (event.target.checked) this.hidden.delete(kind);
      else this.hidden.add(kind);
      this.apply();
    });
    main.querySelector("[data-find]").addEventListener("input", (event) => {
      this.text = event.target.value.trim().toLowerCase();
      this.apply();
    });
    this.openFromHash();
  }

  /** Bring the records around a moment into view: `#at-` and nanoseconds. */
  openFromHash() {
    const wanted = /^#at-(\d+)$/.exec(location.hash);
    if (wanted === null) return;
    const lines = [...this.list.querySelectorAll(".log")];
    const target = lines.find((line) => BigInt(line.dataset.ns) >= BigInt(wanted[1])) ?? lines[lines.length - 1];
    if (target === undefined) return;
    target.open = true;
    target.scrollIntoView({ block: "center" });
  }

  update(fetched) {
    const next = fetched.querySelector("[data-logs]");
    if (next === null) return;
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
    const grown = this.list.childElementCount > 8;
    this.list.querySelector(".no-logs")?.remove();
    let before = null;
    for (const node of [...next.children]) {
      const { key } = node.dataset;
      if (key === undefined) continue;
      if (this.keys.has(key)) {
        before = this.list.querySelector(`[data-key="${CSS.escape(key)}"]`);
        continue;
      }
      this.keys.add(key);
      const adopted = document.adoptNode(node);
      localise(adopted);
      if (before === null) this.list.prepend(adopted);
      else before.after(adopted);
      before = adopted;
    }
    this.apply();
    if (atEnd && grown) scrollTo({ top: document.documentElement.scrollHeight });
  }

  apply() {
    let found = 0;
    for (const line of this.list.querySelectorAll(".log")) {
      const kind = line.classList[1];
      const text = line.querySelector("[data-text]").textContent.toLowerCase();
      const matches = this.text === "" || text.includes(this.text);
      line.hidden = this.hidden.has(kind) || !matches;
      if (!line.hidden) found += 1;
    }
    this.main.querySelector("[data-found]").textContent = this.text === "" ? "" : `${found} found`;
    for (const box of this.main.querySelectorAll("[data-kind]")) box.checked = !this.hidden.has(box.dataset.kind);
  }

  tick() {}

  onKey() {}

  stop() {}
}

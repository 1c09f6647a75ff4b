// The detail panel: a part of the page that the service renders, fetched for the selected row.

import { offerWhole } from "./clamps.js";
import { element } from "./dom.js";
import { loadDocument, partUrl } from "./loading.js";
import { localise, tick } from "./moments.js";

export class Panel {
  constructor(root, onClose) {
    this.root = root;
    this.onClose = onClose;
    this.key = null;
    this.asked = 0;
    root.addEventListener("click", (event) => {
      if (event.target.closest("[data-close]")) this.close();
    });
  }

  get node() {
    return this.root.querySelector(":scope > .panel");
  }

  /** Show a row. What was shown stays until the new one is there. */
  async show(key, section = null) {
    this.key = key;
    this.section = section;
    if (this.node === null) this.root.append(element("aside", "panel", element("p", "waiting", "")));
    await this.load();
  }

  /** Look again, and keep where the reader is in it. */
  async refresh() {
    if (this.key !== null && this.node !== null) await this.load();
  }

  async load() {
    const asked = ++this.asked;
    let next = null;
    try {
      const { page } = await loadDocument(partUrl("panel", { span: this.key }));
      next = page?.querySelector(".panel") ?? null;
    } catch {
      next = null;
    }
    if (asked !== this.asked || this.node === null) return;
    if (next === null) {
      if (this.node.querySelector(".waiting")) this.node.replaceChildren(element("p", "waiting", "The service does not answer."));
      return;
    }
    this.take(document.adoptNode(next));
  }

  take(node) {
    const same = node.dataset.panel !== undefined && node.dataset.panel === this.node.dataset.panel;
    const { scrollTop } = this.node;
    const open = same ? [...this.node.querySelectorAll("details")].map((each) => each.open) : [];
    const focused = this.node.contains(document.activeElement) || this.wantsFocus;
    localise(node);
    tick(node);
    this.node.replaceWith(node);
    offerWhole(node);
    node.querySelectorAll("details").forEach((each, number) => (each.open = open[number] ?? each.open));
    if (same) node.scrollTop = scrollTop;
    if (this.section !== null) node.querySelector(`[data-section="${this.section}"]`)?.scrollIntoView({ block: "nearest" });
    this.section = null;
    if (focused) node.focus({ preventScroll: true });
    this.wantsFocus = false;
  }

  focusWhenShown() {
    this.wantsFocus = true;
    if (this.node?.dataset.panel === this.key) this.node.focus({ preventScroll: true });
  }

  close() {
    this.asked++;
    this.key = null;
    this.node?.remove();
    this.onClose();
  }
}

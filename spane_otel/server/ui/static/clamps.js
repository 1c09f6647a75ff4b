// Long text is cut to a few lines, with a button to the whole.

import { element } from "./dom.js";

/** Give every text below `root` that does not fit its lines a button that opens it. */
export function offerWhole(root) {
  for (const text of root.querySelectorAll(".clamp, .message")) {
    if (text.clientHeight === 0 || text.nextElementSibling?.matches("[data-unclamp]")) continue;
    if (text.scrollHeight <= text.clientHeight + 2) continue;
    const button = element("button", "button bare small unclamp", "Show all");
    button.type = "button";
    button.dataset.unclamp = "";
    button.setAttribute("aria-expanded", "false");
    text.after(button);
  }
}

/** Open or close the text whose button was pressed. */
export function toggleWhole(target) {
  const button = target.closest?.("[data-unclamp]");
  if (!button) return;
  const open = button.previousElementSibling.classList.toggle("open");
  button.textContent = open ? "Show less" : "Show all";
  button.setAttribute("aria-expanded", String(open));
}

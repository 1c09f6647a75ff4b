// Copying: the exact text, not what is shown of it.

import { announce } from "./dom.js";

/** Copy what the button under `target` is for, if there is one. */
export async function copyFrom(target) {
  const button = target.closest?.("[data-copy], [data-copy-from]");
  if (!button) return;
  const from = button.dataset.copyFrom;
  const text = from === undefined ? JSON.parse(button.dataset.copy) : document.getElementById(from).textContent;
  const done = await write(text);
  announce(done ? "Copied" : "Copying was refused");
  if (!done) return;
  button.classList.add("done");
  const use = button.querySelector("use");
  use?.setAttribute("href", "#i-check");
  setTimeout(() => {
    button.classList.remove("done");
    use?.setAttribute("href", "#i-copy");
  }, 1500);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text);
  }
}

/** For a page that is not served from this machine, where the clipboard's own interface is closed. */
function writeBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "sr";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

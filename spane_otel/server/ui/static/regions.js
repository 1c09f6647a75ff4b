// Parts of a page that are taken over from a page fetched again.

const pristine = new WeakMap();

/** Remember how the parts below `root` came, before modules write in them. */
export function rememberRegions(root) {
  for (const region of root.querySelectorAll("[data-region]")) pristine.set(region, region.cloneNode(true));
}

/** Replace what changed. A part in which the reader selects text, or has the focus, waits for the next time. */
export function replaceRegions(root, fetched, prepare) {
  let waiting = false;
  for (const region of root.querySelectorAll("[data-region]")) {
    const name = region.dataset.region;
    const next = fetched.querySelector(`[data-region="${CSS.escape(name)}"]`);
    if (next === null || pristine.get(region)?.isEqualNode(next)) continue;
    if (isHeld(region)) {
      waiting = true;
      continue;
    }
    const open = [...region.querySelectorAll("[data-io].open")].map((node) => node.dataset.io);
    const adopted = document.adoptNode(next);
    pristine.set(adopted, adopted.cloneNode(true));
    prepare(adopted);
    for (const io of open) adopted.querySelector(`[data-io="${CSS.escape(io)}"]`)?.classList.add("open");
    region.replaceWith(adopted);
  }
  return waiting;
}

function isHeld(region) {
  if (region.contains(document.activeElement) && document.activeElement.matches("input, details *")) return true;
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && region.contains(selection.anchorNode);
}

/** Show that the store does not answer, or that it does again. */
export function showAway(main, fetched) {
  main.querySelector(":scope > [data-away]")?.remove();
  const box = fetched?.querySelector("[data-away]");
  if (box) main.prepend(document.adoptNode(box));
}

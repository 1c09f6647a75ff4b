// Times in the reader's own zone, and numbers that tick once a second.

import { age, duration } from "./wording.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (number) => String(number).padStart(2, "0");

let skewMs = 0;

/** Take the service's clock from a page, so that a reader's wrong clock does not show in durations. */
export function setNow(nowNs) {
  skewMs = Number(BigInt(nowNs) / 1000000n) - Date.now();
}

/** Return the present by the service's clock, in milliseconds since 1970. */
export function nowMs() {
  return Date.now() + skewMs;
}

/** Return the nanoseconds from a moment, given as decimal text, until now. */
export function sinceNs(ns) {
  return (nowMs() - Number(BigInt(ns) / 1000n) / 1000) * 1e6;
}

/** Return `14:18:22` if that is today, else `23 Nov 13:33:22`, with the year if it differs. */
export function clockTime(ns, exact) {
  const when = new Date(Number(BigInt(ns) / 1000000n));
  const now = new Date(nowMs());
  let text = `${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
  if (exact) text += `.${String(when.getMilliseconds()).padStart(3, "0")}`;
  if (when.toDateString() === now.toDateString()) return text;
  const year = when.getFullYear() === now.getFullYear() ? "" : ` ${when.getFullYear()}`;
  return `${when.getDate()} ${MONTHS[when.getMonth()]}${year} ${text}`;
}

/** Write times below `root` in the reader's zone, with zone, UTC and age on hover. */
export function localise(root) {
  for (const node of root.querySelectorAll("time[data-ns]")) {
    const { ns, form } = node.dataset;
    const text = clockTime(ns, form === "exact");
    if (node.textContent !== text) node.textContent = text;
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    node.title = `${text} ${zone}\n${node.getAttribute("datetime")}\n${age(sinceNs(ns))}`;
  }
}

/** Write what grows: durations of what runs, ages. */
export function tick(root) {
  for (const node of root.querySelectorAll("[data-ticks]")) {
    const text = duration(sinceNs(node.dataset.ticks), true);
    if (node.textContent !== text) node.textContent = text;
  }
  for (const node of root.querySelectorAll("[data-age]")) {
    const text = age(sinceNs(node.dataset.age));
    if (node.textContent !== text) node.textContent = text;
  }
}

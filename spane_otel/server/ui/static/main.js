// Every page: theme, keys, clock, and looking again when something changed.

import { offerWhole, toggleWhole } from "./clamps.js";
import { copyFrom } from "./copying.js";
import { announce, isWriting } from "./dom.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { loadDocument } from "./loading.js";
import { Logs } from "./logs.js";
import { localise, setNow, tick } from "./moments.js";
import { rememberRegions, replaceRegions, showAway } from "./regions.js";
import { Timeline } from "./timeline.js";

const THEMES = ["auto", "light", "dark"];
const THEME_WORDS = { auto: "automatic", light: "light", dark: "dark" };

let main = document.getElementById("main");
let view = null;
let live = null;

function startPage() {
  setNow(main.dataset.nowNs);
  localise(main);
  tick(main);
  rememberRegions(main);
  offerWhole(main);
  view = makeView();
  live = new Live(main.dataset.cursor ?? "", concerns, lookAgain);
}

function makeView() {
  if (main.querySelector("[data-list]")) return new List(main);
  if (main.querySelector("[data-timeline]")) return new Timeline(main);
  if (main.querySelector("[data-logs]")) return new Logs(main);
  return null;
}

/** Whether a change may show on this page: a list shows all, a trace what belongs to it and to the executions in it. */
function concerns(change) {
  const shown = main.querySelector("[data-shown]");
  if (shown === null || (!change.execution_id && !change.trace_id)) return true;
  const { executions, traces } = shown.dataset;
  return JSON.parse(executions).includes(change.execution_id) || JSON.parse(traces).includes(change.trace_id);
}

async function lookAgain() {
  const { status, page } = await loadDocument(location.href);
  const fetched = page?.getElementById("main") ?? null;
  if (fetched === null) throw new Error(`status ${status}`);
  showAway(main, fetched);
  if (status === 503) {
    if (main.dataset.page === "away") main.dataset.nowNs = fetched.dataset.nowNs;
    return "away";
  }
  setNow(fetched.dataset.nowNs);
  live.cursor = fetched.dataset.cursor || live.cursor;
  if (fetched.dataset.page !== main.dataset.page) return turnInto(fetched, page.title);
  if (document.title !== page.title) document.title = page.title;
  const waiting = replaceRegions(main, fetched, (region) => {
    localise(region);
    tick(region);
  });
  offerWhole(main);
  await view?.update(fetched);
  return waiting ? "waiting" : "";
}

/** The page became another one: the list is no longer empty, or what was not found has arrived. */
function turnInto(fetched, title) {
  view?.stop();
  live.stop();
  const next = document.adoptNode(fetched);
  main.replaceWith(next);
  main = next;
  document.title = title;
  announce(title);
  startPage();
  return "";
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("spane-theme", theme);
  } catch {
    // it holds for this page then
  }
  showTheme();
}

function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "auto";
  const button = document.querySelector("[data-theme-switch]");
  button.querySelector("use").setAttribute("href", `#i-theme-${theme}`);
  button.querySelector(".sr").textContent = `Theme: ${THEME_WORDS[theme]}`;
}

function nextTheme() {
  const theme = document.documentElement.dataset.theme ?? "auto";
  setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
}

document.querySelector("[data-theme-switch]").addEventListener("click", nextTheme);

document.addEventListener("click", (event) => {
  copyFrom(event.target);
  toggleWhole(event.target);
  const whole = event.target.closest("[data-whole]");
  if (whole) {
    const open = whole.parentElement.classList.toggle("open");
    whole.setAttribute("aria-expanded", String(open));
    whole.textContent = open ? "Show less" : "Show all";
  }
  const chosen = event.target.closest("[data-select]");
  if (chosen && view instanceof Timeline && !event.metaKey && !event.ctrlKey) {
    event.preventDefault();
    view.select(chosen.dataset.select, { focus: true, section: chosen.dataset.section ?? null });
  }
});

document.addEventListener("toggle", (event) => event.target.open && offerWhole(event.target), true);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isWriting(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "D" && event.shiftKey) nextTheme();
  else view?.onKey?.(event);
});

setInterval(() => {
  live.tick();
  if (document.hidden) return;
  tick(main);
  view?.tick();
}, 1000);

showTheme();
startPage();

// The stream of changes, and how soon a page looks again.

const LEAST_PAUSE_MS = 400;
const RETRY_MS = 2000;

/** Calls `look` when something changed, never twice at once, and not more often than the answers allow.
 *
 * `cursor` is where the page stood in the feed of changes when it was made: the stream goes on from there, so nothing
 * between the two is missed and a page that is current is not fetched again.
 */
export class Live {
  constructor(cursor, concerns, look) {
    this.cursor = cursor;
    this.concerns = concerns;
    this.look = look;
    this.sign = document.querySelector(".live[data-state]");
    this.source = null;
    this.timer = 0;
    this.looking = false;
    this.again = false;
    this.lastHeard = Date.now();
    this.onVisibility = () => {
      this.follow();
      if (!document.hidden) this.soon();
    };
    document.addEventListener("visibilitychange", this.onVisibility);
    this.follow();
  }

  /** Listen while the page is seen: a hidden tab costs nothing, and looks again when it comes back. */
  follow() {
    if (document.hidden) {
      this.source?.close();
      this.source = null;
      return;
    }
    if (this.source !== null) return;
    const query = this.cursor ? `?cursor=${encodeURIComponent(this.cursor)}` : "";
    const source = new EventSource(`/api/v1/stream${query}`);
    this.source = source;
    source.addEventListener("open", () => this.say("live"));
    source.addEventListener("change", (event) => {
      this.say("live");
      if (this.concerns(JSON.parse(event.data))) this.soon();
    });
    source.addEventListener("store", (event) => {
      if (!JSON.parse(event.data).available || this.isAway) this.soon();
    });
    source.addEventListener("error", () => {
      this.say("waiting");
      if (source.readyState !== EventSource.CLOSED) return;
      this.source = null; // refused, not broken off: the browser does not try again by itself
      setTimeout(() => this.stopped || this.follow(), RETRY_MS);
    });
  }

  /** Look soon; several calls are one. */
  soon(pause = LEAST_PAUSE_MS) {
    if (this.looking) this.again = true;
    else if (!this.timer) this.timer = setTimeout(() => this.lookNow(), pause);
  }

  async lookNow() {
    this.timer = 0;
    this.looking = true;
    const started = performance.now();
    let pause = LEAST_PAUSE_MS;
    try {
      const outcome = await this.look();
      this.isAway = outcome === "away";
      if (outcome !== "") {
        this.again = true;
        pause = RETRY_MS;
      }
    } catch {
      this.say("waiting");
      this.again = true;
      pause = RETRY_MS;
    }
    this.looking = false;
    if (this.stopped || !this.again) return;
    this.again = false;
    this.soon(Math.max(pause, Math.min(2 * (performance.now() - started), 10000)));
  }

  /** Show whether what is seen is current. */
  say(state) {
    if (state === "live") this.lastHeard = Date.now();
    if (this.sign === null) return;
    const silent = Math.round((Date.now() - this.lastHeard) / 1000);
    const words = state === "live" ? "Live" : `Reconnecting, ${silent} s behind`;
    const place = this.sign.querySelector("[data-live-words]");
    if (place.textContent !== words) place.textContent = words;
    this.sign.dataset.state = state;
  }

  tick() {
    if (this.sign?.dataset.state === "waiting") this.say("waiting");
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.source?.close();
    document.removeEventListener("visibilitychange", this.onVisibility);
  }
}

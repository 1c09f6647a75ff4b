// The twin of traces/wording.py for numbers that tick. Digits are cut, not rounded.

const two = (number) => String(number).padStart(2, "0");
const group = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

/** Return `6.4 ms`, `38.64 s`, `1 m 04 s`, `2 h 13 m` or `3 d 4 h`; running: at most three digits of seconds. */
export function duration(ns, running = false) {
  const whole = Math.max(Math.floor(ns), 0);
  if (whole < 1e3) return whole ? `${whole} ns` : "0 s";
  if (whole < 1e6) return oneDecimal(whole, 1e3, "µs");
  if (whole < 1e9) return oneDecimal(whole, 1e6, "ms");
  const seconds = Math.floor(whole / 1e9);
  if (seconds < 60) {
    const hundredths = Math.floor(whole / 1e7);
    const rest = running && hundredths >= 1000 ? String(Math.floor(hundredths / 10) % 10) : two(hundredths % 100);
    return `${seconds}.${rest} s`;
  }
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} m`;
  return `${group(Math.floor(seconds / 86400))} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function oneDecimal(ns, unit, name) {
  if (ns >= 10 * unit) return `${Math.floor(ns / unit)} ${name}`;
  const tenths = Math.floor((ns * 10) / unit);
  return `${Math.floor(tenths / 10)}.${tenths % 10} ${name}`;
}

/** Return `+23.612 s` on an axis of `total` nanoseconds, `+4.612 ms` where all is that short. */
export function offset(ns, total) {
  const [unit, name] = total >= 1e9 ? [1e9, "s"] : [1e6, "ms"];
  const thousandths = Math.floor((Math.abs(ns) * 1000) / unit);
  const rest = String(thousandths % 1000).padStart(3, "0");
  return `${ns < 0 ? "−" : "+"}${group(Math.floor(thousandths / 1000))}.${rest} ${name}`;
}

/** Return `47 s ago`, `3 min ago`, `2 h ago`, `5 d ago`. */
export function age(ns) {
  if (ns < 1e9) return "now";
  for (const [unit, name] of [[86400e9, "d"], [3600e9, "h"], [60e9, "min"]]) {
    if (ns >= unit) return `${group(Math.floor(ns / unit))} ${name} ago`;
  }
  return `${Math.floor(ns / 1e9)} s ago`;
}

export { group as count };

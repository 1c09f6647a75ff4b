// Runs before the first paint: the remembered theme is there from the start.
(() => {
  "use strict";
  try {
    const theme = localStorage.getItem("spane-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // storage may be forbidden; the system's theme holds
  }
})();

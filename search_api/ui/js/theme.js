// Runs before the first paint, so that a dark page never flashes white. A plain script: modules run too late for this.
(() => {
  let theme = "auto";
  try {
    theme = JSON.parse(localStorage.getItem("sonotheque.prefs") || "{}").theme || "auto";
  } catch {
    theme = "auto";
  }
  document.documentElement.dataset.theme = theme;
})();

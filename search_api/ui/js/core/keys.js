/** Keys. Every one is registered with words for it, so the sheet behind `?` lists all that work now and nothing else. */

/**
 * @typedef {{keys: string[], label: string, group?: string, run: (event: KeyboardEvent) => any, when?: () => boolean, inText?: boolean, hidden?: boolean}} Binding
 * `keys`: as "y", "ArrowLeft", "Space", "?", "Ctrl+z", "Shift+Enter". `inText`: also while typing. `run` may return false: not mine.
 */

/** @type {{name: string, bindings: Binding[]}[]} */
const scopes = [];
const NAMES = {
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Escape: "Esc",
  Space: "Space",
  Enter: "Enter",
};
const TEXT =
  "input:not([type=checkbox]):not([type=radio]):not([type=range]):not([type=button]):not([type=file]), textarea, [contenteditable=true]";
const OWN =
  "a[href], button, summary, select, input, textarea, audio, [role=slider], [role=option], [role=tab], [role=button]";

export const keys = {
  /**
   * Add bindings; the newest scope is asked first. Returns a function that takes them away.
   * @param {string} name  heading on the key sheet
   * @param {Binding[]} bindings
   */
  register(name, bindings) {
    const scope = { name, bindings };
    scopes.unshift(scope);
    return () => {
      const at = scopes.indexOf(scope);
      if (at >= 0) scopes.splice(at, 1);
    };
  },

  /** All that is registered now, for the sheet. */
  list: () =>
    scopes
      .map(({ name, bindings }) => ({ name, bindings: bindings.filter((b) => !b.hidden) }))
      .filter((s) => s.bindings.length),

  /** A key as people know it. */
  show: (key) =>
    key
      .split("+")
      .map((part) => NAMES[part] || (part.length === 1 && part !== "?" ? part.toUpperCase() : part))
      .join(" + "),
};

/** The event's key as it is written in bindings. */
export function keyOf(event) {
  const plain = event.key === " " ? "Space" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shift = event.shiftKey && event.key.length > 1;
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${plain}`;
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const typing = Boolean(target.closest(TEXT));
  const key = keyOf(event);
  // What has the focus keeps the keys that mean something to it: Enter and Space press a button, arrows move a slider.
  const own = target.closest(OWN);
  if (own && (key === "Enter" || key === "Space")) return;
  if (
    own?.matches("select, input[type=range], input[type=radio], [role=slider], [role=option], [role=tab]") &&
    (key.startsWith("Arrow") || key.length === 1)
  )
    return;
  const modal = document.querySelector("dialog[open]");
  for (const scope of [...scopes])
    for (const binding of scope.bindings) {
      if (!binding.keys.includes(key)) continue;
      if (typing && !binding.inText) continue;
      if (modal && !modal.dataset.keys) continue;
      if (binding.when && !binding.when()) continue;
      if (binding.run(event) === false) continue;
      event.preventDefault();
      return;
    }
}

document.addEventListener("keydown", onKey);

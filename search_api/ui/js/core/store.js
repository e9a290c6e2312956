/** What this browser remembers (localStorage), and the stack of what can be undone. */

const KEY = "sonotheque.prefs";

const DEFAULTS = {
  theme: "auto", // auto | light | dark
  annotator: "",
  label: "", // the last label that was judged
  density: 2, // 1 wide … 3 dense
  autoplay: false,
  margin_s: 1, // of a snippet, before and after its window
  spectrogram: { scale: "linear", colormap: "viridis", range_db: 80, reference: "peak", min_hz: null, max_hz: 12000 },
  speed: 1,
  gain_db: 0,
};

const listeners = new Map();
let values = load();

function load() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEY) || "{}");
  } catch {
    kept = {}; // damaged, or storage is forbidden: the defaults do
  }
  return { ...DEFAULTS, ...kept, spectrogram: { ...DEFAULTS.spectrogram, ...(kept.spectrogram || {}) } };
}

export const prefs = {
  /** @param {keyof typeof DEFAULTS} name @returns {any} */
  get: (name) => values[name],

  /** Set and keep one; those who asked with `on` are told. */
  set(name, value) {
    values = { ...values, [name]: value };
    try {
      localStorage.setItem(KEY, JSON.stringify(values));
    } catch {
      // Storage is full or forbidden: it holds for this page.
    }
    for (const listener of listeners.get(name) || []) listener(value);
  },

  /** Call `listener(value)` at each change; returns a function that stops it. */
  on(name, listener) {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(listener);
    return () => listeners.get(name).delete(listener);
  },

  /** Query parameters of every spectrogram, from the settings. */
  spectrogramParams() {
    const { scale, colormap, range_db, reference, min_hz, max_hz } = values.spectrogram;
    return { scale, colormap, range_db, reference, min_hz, max_hz };
  },
};

window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  const before = values;
  values = load();
  for (const [name, set] of listeners)
    if (JSON.stringify(before[name]) !== JSON.stringify(values[name]))
      for (const listener of set) listener(values[name]);
});

/** @type {{label: string, run: () => any}[]} */
const stack = [];

export const undo = {
  /** @param {{label: string, run: () => any}} entry  `label` says what is taken back, as "yes for Parus major" */
  push(entry) {
    stack.push(entry);
    if (stack.length > 200) stack.shift();
  },
  /** Take back the newest; returns its entry, or null if there is none. */
  async pop() {
    const entry = stack.pop();
    if (!entry) return null;
    await entry.run();
    return entry;
  },
  get size() {
    return stack.length;
  },
  clear() {
    stack.length = 0;
  },
};

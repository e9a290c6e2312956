/**
 * What is judged in this sitting, by window and label. A judgement goes through the outbox, so it is on disk before it is sent.
 * Judging otherwise takes the earlier judgement back first; both would count else.
 */
import { outbox } from "../core/api.js";
import { prefs, undo } from "../core/store.js";

const KEY = "sonotheque.judged";
const KEPT_MAX = 4000;
const listeners = new Set();

/** @type {Map<string, {judgement: string|null, sent: {id: string, answer: Promise<any>}|null, annotationId: number|null}>} */
const sitting = new Map();
const keyOf = (window, label) => `${window.window_id}\n${label}`;

/** Ids of annotations that this browser made: only these are taken back when somebody changes their mind. */
function own() {
  try {
    return new Map(JSON.parse(localStorage.getItem(KEY) || "[]"));
  } catch {
    return new Map();
  }
}
let mine = own();

function remember(annotationId, windowId) {
  if (!annotationId) return;
  mine.set(annotationId, windowId);
  try {
    localStorage.setItem(KEY, JSON.stringify([...mine].slice(-KEPT_MAX)));
  } catch {
    // Full or forbidden: it is known until this page closes.
  }
}

window.addEventListener("storage", (event) => {
  if (event.key === KEY) mine = own();
});

/** The state of a window under a label, from this sitting or, after a reload, from what the service told of it. */
function entry(target, label) {
  const known = sitting.get(keyOf(target, label));
  if (known) return known;
  const told = (target.annotations || []).findLast(
    (a) => a.label === label && mine.get(a.annotation_id) === target.window_id,
  );
  return told ? { judgement: told.judgement, sent: null, annotationId: told.annotation_id } : null;
}

function put(target, label, judgement, sent, annotationId = null) {
  sitting.set(keyOf(target, label), { judgement, sent, annotationId });
  for (const listener of listeners) listener(target, label, judgement);
}

function send(target, label, judgement, provenance) {
  const sent = outbox.send("annotations", {
    annotator: prefs.get("annotator") || undefined,
    provenance,
    annotations: [{ window_id: target.window_id, label, judgement }],
  });
  put(target, label, judgement, sent);
  sent.answer.then(
    ({ annotations }) => {
      const id = annotations[0].annotation_id;
      remember(id, target.window_id);
      const now = sitting.get(keyOf(target, label));
      if (now?.sent === sent) now.annotationId = id;
    },
    () => {
      if (sitting.get(keyOf(target, label))?.sent === sent) put(target, label, null, null);
    },
  );
}

function takeBack(target, label) {
  const now = entry(target, label);
  put(target, label, null, null);
  if (!now?.judgement) return;
  if (now.annotationId) outbox.send("annotations/undo", { annotation_id: now.annotationId });
  else if (now.sent && !outbox.cancel(now.sent.id)) {
    if (outbox.isWaiting(now.sent.id)) outbox.send("annotations/undo", {}, { needs: now.sent.id });
    else
      now.sent.answer.then(
        ({ annotations }) => outbox.send("annotations/undo", { annotation_id: annotations[0].annotation_id }),
        () => {},
      );
  }
}

export const judging = {
  /** @returns {string|null} */
  of: (target, label) => entry(target, label)?.judgement ?? null,

  /**
   * Judge a window; the same again changes nothing. What is done can be undone (`undo` of core/store).
   * @param {{window_id: string}} target @param {string} label @param {"positive"|"negative"|"uncertain"} judgement
   * @param {{provenance: string, onUndo?: () => void}} options
   * @returns {boolean} whether anything changed
   */
  judge(target, label, judgement, { provenance, onUndo }) {
    const before = judging.of(target, label);
    if (before === judgement) return false;
    if (before) takeBack(target, label);
    send(target, label, judgement, provenance);
    undo.push({
      label: `${judgement} for ${label}`,
      run: () => {
        takeBack(target, label);
        if (before) send(target, label, before, provenance);
        onUndo?.();
      },
    });
    return true;
  },

  /** How many of these windows are judged under a label, by judgement. */
  count(targets, label) {
    const found = { positive: 0, negative: 0, uncertain: 0, all: 0 };
    for (const target of targets) {
      const judgement = judging.of(target, label);
      if (!judgement) continue;
      found[judgement] += 1;
      found.all += 1;
    }
    return found;
  },

  /** Call `listener(window, label, judgement)` at each change; returns a function that stops it. */
  on(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

/** Whether the service answers. While it does not, one probe asks again and again; everybody else waits for it. */

const WAITS_S = [1, 2, 4, 8, 15];
const listeners = new Set();
let away = false;
let attempt = 0;
let timer = 0;
let nextAt = 0;
/** @type {(() => void)[]} */
let waiting = [];

export const service = {
  get away() {
    return away;
  },
  /** Milliseconds (performance.now) at which it is tried next. */
  get nextAt() {
    return nextAt;
  },
  /** Call `listener(away)` at each change and at each try; returns a function that stops it. */
  on(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  /** A request got no answer. */
  lost() {
    if (away) return;
    away = true;
    attempt = 0;
    schedule();
  },
  /** A request was answered. */
  found() {
    if (!away) return;
    away = false;
    clearTimeout(timer);
    const ready = waiting;
    waiting = [];
    tell();
    for (const go of ready) go();
  },
  /** Try now. */
  retry() {
    if (away) probe();
  },
  /** Wait until it answers; rejects when `signal` is aborted. @param {AbortSignal} [signal] */
  back(signal) {
    if (!away) return Promise.resolve();
    return new Promise((done, fail) => {
      waiting.push(done);
      signal?.addEventListener("abort", () => fail(new DOMException("aborted", "AbortError")), { once: true });
    });
  },
};

function tell() {
  for (const listener of listeners) listener(away);
}

function schedule() {
  const wait = 1000 * WAITS_S[Math.min(attempt, WAITS_S.length - 1)];
  attempt += 1;
  nextAt = performance.now() + wait;
  clearTimeout(timer);
  timer = setTimeout(probe, wait);
  tell();
}

async function probe() {
  clearTimeout(timer);
  try {
    const answer = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (answer.status < 500) return service.found();
  } catch {
    // Still away.
  }
  return schedule();
}

window.addEventListener("online", () => service.retry());

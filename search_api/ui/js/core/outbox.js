/**
 * Judgements on their way. Each is kept in localStorage under its own key before it is sent and until the service has
 * confirmed it, so neither a closed page nor a service that is away loses one. Sending twice is harmless: the service knows
 * a judgement that it already has. What it refuses for good stays, is shown, and can be thrown away only by hand.
 */
import { api, sleep } from "./api.js";
import { service } from "./service.js";

const PREFIX = "sonotheque.outbox.";
const PASSING = new Set([401, 408, 429]); // a key is missing, or it was too slow or too much: not the judgement's fault
const listeners = new Set();
/** @type {Map<string, {done: (answer: any) => void, fail: (error: any) => void}>} */
const promises = new Map();
const memory = new Map(); // where localStorage is forbidden or full
let running = false;
let sending = "";
let lastId = 0;

/** @typedef {{id: string, path: string, body: any, at: number, refused?: string, needs?: string}} Item */

/** @returns {Item[]} */
function items() {
  const found = new Map(memory);
  for (let at = 0; at < localStorage.length; at += 1) {
    const key = localStorage.key(at);
    if (!key.startsWith(PREFIX)) continue;
    try {
      const item = JSON.parse(localStorage.getItem(key));
      found.set(item.id, item);
    } catch {
      localStorage.removeItem(key);
    }
  }
  return [...found.values()].sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
}

function keep(item) {
  try {
    localStorage.setItem(PREFIX + item.id, JSON.stringify(item));
  } catch {
    memory.set(item.id, item);
  }
}

function drop(id) {
  localStorage.removeItem(PREFIX + id);
  memory.delete(id);
}

function tell() {
  const now = outbox.state();
  for (const listener of listeners) listener(now);
}

export const outbox = {
  /**
   * Keep and send. The promise gives the service's `data`, or the ApiError if it is refused for good; while the service is
   * away it stays open. With `needs` it is about what an earlier one makes (taking back what is still on its way): it waits
   * for that one, and its body becomes `{annotation_id}` of it.
   * @param {string} path  "annotations", "annotations/undo", "feedback", "probes/NAME/…"
   * @param {any} body
   * @param {{needs?: string}} [options]
   * @returns {{id: string, answer: Promise<any>}}
   */
  send(path, body, { needs } = {}) {
    lastId += 1;
    const id = `${Date.now().toString(36)}-${lastId}-${Math.random().toString(36).slice(2, 8)}`;
    keep({ id, path, body, at: Date.now(), needs });
    const answer = new Promise((done, fail) => promises.set(id, { done, fail }));
    answer.catch(() => {}); // whoever wants it looks; others are told by the badge
    tell();
    run();
    return { id, answer };
  },

  /** Take one back that is not yet on its way; false if it is, or was sent. */
  cancel(id) {
    if (sending === id || !items().some((item) => item.id === id)) return false;
    drop(id);
    promises.delete(id);
    tell();
    return true;
  },

  /** Whether one is still here, on its way or waiting. */
  isWaiting: (id) => items().some((item) => item.id === id && !item.refused),

  /** How many wait, and those refused. @returns {{waiting: number, refused: Item[]}} */
  state() {
    const all = items();
    const refused = all.filter((item) => item.refused);
    return { waiting: all.length - refused.length, refused };
  },

  /** Throw refused ones away. */
  discardRefused() {
    for (const item of items()) if (item.refused) drop(item.id);
    tell();
  },

  /** Try refused ones once more, as after a new key. */
  retryRefused() {
    for (const item of items()) if (item.refused) keep({ ...item, refused: undefined });
    tell();
    run();
  },

  on(listener) {
    listeners.add(listener);
    listener(outbox.state());
    return () => listeners.delete(listener);
  },

  /** Send what an earlier page left. */
  start() {
    window.addEventListener("storage", (event) => event.key?.startsWith(PREFIX) && tell());
    window.addEventListener("beforeunload", (event) => {
      if (memory.size) event.preventDefault();
    });
    run();
  },
};

/** Send one after the other, in the order they were made. */
async function run() {
  if (running) return;
  running = true;
  try {
    for (let tries = 0; ;) {
      await service.back();
      const item = items().find((one) => !one.refused);
      if (!item) return;
      if (item.needs) {
        refuse(item, { message: "the judgement that this takes back was not found" });
        continue;
      }
      try {
        sending = item.id;
        const { data } = await api.post(item.path, item.body);
        drop(item.id);
        for (const later of items())
          if (later.needs === item.id)
            keep({ ...later, needs: undefined, body: { annotation_id: data.annotations[0].annotation_id } });
        promises.get(item.id)?.done(data);
        promises.delete(item.id);
        tries = 0;
        tell();
      } catch (error) {
        sending = "";
        if (isLasting(error)) refuse(item, error);
        else {
          tries += 1;
          await sleep(1000 * Math.min(error.retryAfterS || 2 ** (tries - 1), 20));
        }
      }
      sending = "";
    }
  } finally {
    running = false;
  }
}

/** Whether sending the same again would be refused again. */
function isLasting(error) {
  return error.status >= 400 && error.status < 500 && !PASSING.has(error.status);
}

function refuse(item, error) {
  // What would have taken this back has nothing left to do.
  for (const later of items()) if (later.needs === item.id) drop(later.id);
  keep({ ...item, refused: error.message });
  promises.get(item.id)?.fail(error);
  promises.delete(item.id);
  tell();
}

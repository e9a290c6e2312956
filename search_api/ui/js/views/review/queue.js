/** The state of a sitting: which window is shown, what was said of each, what can be taken back. Knows no page. */

/** @typedef {"positive"|"negative"|"uncertain"|"skipped"} Said */

/**
 * @param {any[]} rows  windows to judge, each with its label
 */
export function makeQueue(rows) {
  /** @type {(Said|null)[]} */
  const said = rows.map(() => null);
  const order = []; // positions in the order in which they were judged
  let at = 0;

  const open = (from) => {
    for (let step = 0; step < rows.length; step += 1) {
      const i = (from + step) % rows.length;
      if (said[i] === null) return i;
    }
    return rows.length;
  };

  return {
    rows,
    get at() {
      return at;
    },
    get current() {
      return rows[at] ?? null;
    },
    get said() {
      return said;
    },
    get done() {
      return said.filter((s) => s !== null).length;
    },
    get isOver() {
      return rows.length === 0 || said.every((s) => s !== null);
    },
    /** The one that will be shown after this. */
    get next() {
      return rows[open(at + 1)] ?? null;
    },
    go(to) {
      at = Math.max(0, Math.min(rows.length - 1, to));
    },
    /** Say something of the current one, and go to the next that is open. Returns its position. @param {Said} what */
    say(what) {
      const now = at;
      said[now] = what;
      order.push(now);
      at = open(now + 1);
      if (at === rows.length) at = now;
      return now;
    },
    /** Take the newest back and show it. Returns its position, or -1. */
    back() {
      const now = order.pop();
      if (now === undefined) return -1;
      said[now] = null;
      at = now;
      return now;
    },
    /** What was said of one is void after all, as when the service refused it. */
    clear(position) {
      said[position] = null;
      const found = order.lastIndexOf(position);
      if (found >= 0) order.splice(found, 1);
    },
    /** How often each was said. */
    sums() {
      const sums = { positive: 0, negative: 0, uncertain: 0, skipped: 0 };
      for (const one of said) if (one) sums[one] += 1;
      return sums;
    },
  };
}

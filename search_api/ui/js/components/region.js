/** A stretch of a spectrogram, chosen by dragging, by its two handles, or by keyboard (each handle is a slider). */
import { h } from "../core/dom.js";
import { seconds } from "../core/format.js";

const CLICK_PX = 4;

/**
 * @param {{plot: HTMLElement, about: any, share: (s: number) => number, secondsAt: (x: number) => number,
 *   region: {from: number, to: number}|null, min: number, onRegion: (region: any, done: boolean) => void, onSeek?: (s: number) => void}} options
 */
export function regionLayer({ plot, about, share, secondsAt, region, min, onRegion, onSeek }) {
  const handles = { from: handle("from", "Start of the region"), to: handle("to", "End of the region") };
  const body = h("div", { class: "region__body" });
  const before = h("div", { class: "region__shade" });
  const after = h("div", { class: "region__shade" });
  const el = h("div", { class: "region" }, before, after, body, handles.from, handles.to);
  plot.append(el);
  plot.classList.add("is-selectable");

  function handle(edge, label) {
    return h("div", {
      class: `region__handle region__handle--${edge}`,
      role: "slider",
      tabindex: "0",
      "aria-label": label,
      dataset: { edge },
      onkeydown: (event) => onKey(event, edge),
    });
  }

  function clamp(next) {
    const low = about.startS;
    const high = about.endS;
    const least = Math.min(min, high - low);
    const from = Math.max(low, Math.min(next.from, high - least));
    return { from: round(from), to: round(Math.min(high, Math.max(next.to, from + least))) };
  }

  function change(next, done) {
    region = next && clamp(next);
    draw();
    onRegion(region, done);
  }

  function draw() {
    el.hidden = false;
    const shown = region || { from: about.startS, to: about.endS };
    const a = Math.max(0, share(shown.from));
    const b = Math.min(1, share(shown.to));
    const pct = (x) => `${(100 * x).toFixed(3)}%`;
    body.style.left = pct(a);
    body.style.width = pct(b - a);
    before.style.width = pct(a);
    after.style.left = pct(b);
    after.style.width = pct(1 - b);
    handles.from.style.left = pct(a);
    handles.to.style.left = pct(b);
    for (const [edge, s] of Object.entries(shown)) {
      if (!handles[edge]) continue;
      const own = handles[edge];
      own.setAttribute("aria-valuemin", String(round(about.startS)));
      own.setAttribute("aria-valuemax", String(round(about.endS)));
      own.setAttribute("aria-valuenow", String(s));
      own.setAttribute("aria-valuetext", seconds(s, 2));
    }
    el.classList.toggle("is-all", !region);
  }

  function onKey(event, edge) {
    const step = event.shiftKey ? 1 : 0.1;
    const now = region || { from: about.startS, to: about.endS };
    const moves = {
      ArrowLeft: -step,
      ArrowDown: -step,
      ArrowRight: step,
      ArrowUp: step,
      Home: -Infinity,
      End: Infinity,
    };
    if (event.key === "Escape" && region) change(null, true);
    else if (event.key in moves) {
      const wanted = Math.min(about.endS, Math.max(about.startS, now[edge] + moves[event.key]));
      // The other edge holds: a handle stops before it.
      const value = edge === "from" ? Math.min(wanted, now.to - min) : Math.max(wanted, now.from + min);
      change({ ...now, [edge]: value }, true);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  let drag = null;
  function onDown(event) {
    if (event.button || !about.known) return;
    const edge = event.target.dataset?.edge;
    const at = secondsAt(event.clientX);
    drag = {
      x: event.clientX,
      anchor: edge ? (edge === "from" ? (region?.to ?? about.endS) : (region?.from ?? about.startS)) : at,
      moved: Boolean(edge),
    };
    plot.setPointerCapture(event.pointerId);
  }
  function onMove(event) {
    if (!drag) return;
    if (!drag.moved && Math.abs(event.clientX - drag.x) < CLICK_PX) return;
    drag.moved = true;
    const at = secondsAt(event.clientX);
    change({ from: Math.min(at, drag.anchor), to: Math.max(at, drag.anchor) }, false);
  }
  function onUp(event) {
    if (!drag) return;
    const { moved } = drag;
    drag = null;
    if (moved) onRegion(region, true);
    else onSeek?.(secondsAt(event.clientX));
  }
  function onCancel() {
    drag = null;
  }
  const events = [
    ["pointerdown", onDown],
    ["pointermove", onMove],
    ["pointerup", onUp],
    ["pointercancel", onCancel],
    ["dblclick", () => change(null, true)],
  ];
  for (const [name, func] of events) plot.addEventListener(name, func);
  draw();

  return {
    draw,
    set(next) {
      region = next;
      draw();
    },
    destroy() {
      for (const [name, func] of events) plot.removeEventListener(name, func);
      el.remove();
    },
  };
}

const round = (s) => Number(s.toFixed(2));

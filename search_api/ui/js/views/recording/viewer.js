/** The spectrogram of a recording: all of it as a strip, and a stretch of it large. The service draws every stretch anew. */
import { debounce, h } from "../../core/dom.js";
import { spectrogram } from "../../components/spectrogram.js";

const LEAST_S = 0.5;
const WHOLE_S = 60; // shown whole at first if not longer

/** A view of `span` seconds that lies within the recording. @returns {{from: number, to: number}} */
export function fitted(from, span, duration) {
  const length = Math.min(duration, Math.max(LEAST_S, span));
  const start = Math.min(Math.max(0, from), duration - length);
  return { from: start, to: start + length };
}

/** The view after zooming by a factor around a second that keeps its place. */
export function zoomed(view, factor, around, duration) {
  const span = (view.to - view.from) * factor;
  const share = (around - view.from) / (view.to - view.from);
  return fitted(around - share * Math.min(duration, Math.max(LEAST_S, span)), span, duration);
}

/** What is shown first: all of a short recording, else a minute around a second. */
export const firstView = (duration, at = 0) =>
  duration <= WHOLE_S ? { from: 0, to: duration } : fitted(at - WHOLE_S / 4, WHOLE_S, duration);

/**
 * @param {{id: string, duration: number, view: {from: number, to: number}, playerId: string, onView: (view: any, done: boolean) => void,
 *   onSeek: (s: number) => void, onRegion: (region: any, done: boolean) => void}} options
 */
export function viewer({ id, duration, view, playerId, onView, onSeek, onRegion }) {
  const src = `recordings/${encodeURIComponent(id)}/spectrogram`;
  const wide = Math.min(1600, Math.max(480, Math.round(window.innerWidth * 0.9)));
  const strip = spectrogram({
    src,
    params: { width: Math.min(1200, wide), height: 64 },
    alt: "The whole recording",
    startS: 0,
    endS: duration,
    axes: false,
    height: "64px",
    playerId,
    lazy: false,
  });
  const brush = h("div", {
    class: "brush",
    role: "slider",
    tabindex: "0",
    "aria-label": "Stretch that is shown large",
    "aria-valuemin": 0,
    "aria-valuemax": Math.round(duration),
    onkeydown: onBrushKey,
  });
  strip.plot.append(brush);
  strip.el.classList.add("strip-spec");
  const spec = spectrogram({
    src,
    params: paramsOf(view),
    alt: "Spectrogram of the recording",
    startS: view.from,
    endS: view.to,
    height: "var(--viewer-height)",
    playerId,
    lazy: false,
    region: null,
    regionMin: 0.2,
    onRegion,
    onSeek,
    onLoad(about) {
      loaded = { from: about.startS, to: about.endS };
      settle();
    },
  });
  const mark = h("div", { class: "viewer-mark", hidden: true });
  spec.plot.append(mark);
  const image = spec.el.querySelector(".spec__img");
  const element = h(
    "div",
    { class: "viewer" },
    duration > LEAST_S * 2 && h("div", { class: "viewer-strip" }, strip.el),
    spec.el,
  );
  let loaded = { ...view };
  let marked = null;
  let region = null;

  function paramsOf({ from, to }) {
    return { from_s: Number(from.toFixed(3)), to_s: Number(to.toFixed(3)), width: wide, height: 320 };
  }
  const fetchNow = debounce(() => {
    spec.setSrc(src, paramsOf(view));
    onView(view, true);
  }, 220);

  /** The old picture is stretched to the new view until the new one is there; axes and marks are right at once. */
  function settle() {
    spec.about.startS = view.from;
    spec.about.endS = view.to;
    const scale = (loaded.to - loaded.from) / (view.to - view.from);
    const shift = (loaded.from - view.from) / (view.to - view.from);
    const same = Math.abs(scale - 1) < 1e-3 && Math.abs(shift) < 1e-3;
    image.style.transformOrigin = "0 0";
    image.style.transform = same ? "" : `translateX(${100 * shift}%) scaleX(${scale})`;
    spec.redraw();
    place(brush, view.from / duration, view.to / duration);
    brush.setAttribute("aria-valuenow", String(Math.round(view.from)));
    brush.setAttribute(
      "aria-valuetext",
      `${view.from.toFixed(1)} to ${view.to.toFixed(1)} s of ${duration.toFixed(1)} s`,
    );
    mark.hidden = !marked || marked.to < view.from || marked.from > view.to;
    if (!mark.hidden) place(mark, spec.share(marked.from), spec.share(marked.to));
    spec.setRegion(region && region.to > view.from && region.from < view.to ? region : null);
  }

  function show(next, { now = false } = {}) {
    view = next;
    settle();
    onView(view, false);
    fetchNow();
    if (now) (fetchNow.cancel(), spec.setSrc(src, paramsOf(view)), onView(view, true));
  }

  const span = () => view.to - view.from;
  const pan = (seconds) => show(fitted(view.from + seconds, span(), duration));
  const zoom = (factor, around = (view.from + view.to) / 2) => show(zoomed(view, factor, around, duration));

  function onBrushKey(event) {
    const moves = { ArrowLeft: -0.25, ArrowRight: 0.25, PageUp: -1, PageDown: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    const move = moves[event.key];
    show(fitted(Number.isFinite(move) ? view.from + move * span() : move < 0 ? 0 : duration, span(), duration));
  }

  spec.plot.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) {
        event.preventDefault();
        zoom(Math.exp(Math.max(-40, Math.min(40, event.deltaY)) * 0.012), spec.secondsAt(event.clientX));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        event.preventDefault();
        pan(((event.deltaX || event.deltaY) / spec.plot.clientWidth) * span());
      }
    },
    { passive: false },
  );

  strip.plot.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    strip.plot.setPointerCapture(event.pointerId);
    const box = strip.plot.getBoundingClientRect();
    const at = (e) => ((e.clientX - box.left) / box.width) * duration;
    const start = at(event);
    const grip = start >= view.from && start <= view.to ? start - view.from : span() / 2;
    const move = (e) => show(fitted(at(e) - grip, span(), duration));
    move(event);
    strip.plot.addEventListener("pointermove", move);
    const end = () => strip.plot.removeEventListener("pointermove", move);
    strip.plot.addEventListener("pointerup", end, { once: true });
    strip.plot.addEventListener("pointercancel", end, { once: true });
  });
  requestAnimationFrame(settle);

  return {
    element,
    get view() {
      return view;
    },
    show,
    pan,
    zoom,
    whole: () => show({ from: 0, to: duration }),
    /** Move so far that a span is seen; stays if it is. */
    reveal(from, to) {
      if (from >= view.from && to <= view.to) return;
      show(fitted(from - Math.max(0, (span() - (to - from)) * 0.2), span(), duration));
    },
    setMark(next) {
      marked = next;
      settle();
    },
    setRegion(next) {
      region = next;
      settle();
    },
    destroy() {
      fetchNow.cancel();
      strip.destroy();
      spec.destroy();
    },
  };
}

function place(element, from, to) {
  const [a, b] = [Math.max(0, from), Math.min(1, to)];
  element.style.left = `${100 * a}%`;
  element.style.width = `${100 * Math.max(0, b - a)}%`;
}

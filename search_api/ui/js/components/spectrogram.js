/**
 * A spectrogram: the service's picture with axes in kHz and seconds, a marked span, the player's cursor and, if asked for, a
 * region that is chosen by dragging or by keyboard. Its box has its size before the picture comes; the picture is fetched when
 * it comes near the screen. What the picture shows (X-Start-S … X-Max-Hz) is taken from the answer, so axes are never guessed.
 */
import { ApiError, request, url } from "../core/api.js";
import { h } from "../core/dom.js";
import { kHz, offset } from "../core/format.js";
import { prefs } from "../core/store.js";
import { player } from "./player.js";
import { regionLayer } from "./region.js";
import { heightOf, hzTicks, timeTicks } from "./scales.js";

/**
 * @typedef {object} Options
 * @property {string} src  path below /v1, as "windows/1:2/spectrogram"
 * @property {Record<string, any>} [params]  more parameters (width, height, margin_s, from_s, to_s); settings of the user are added
 * @property {string} alt  what it is, for screen readers
 * @property {number} [startS] @property {number} [endS]  expected time axis until the answer tells
 * @property {{from: number, to: number}|null} [mark]  the span that is meant, in seconds
 * @property {string} [playerId]  show the player's cursor of this id
 * @property {number} [ratio]  width / height of the picture's box (default 400/220)
 * @property {string} [height]  fixed height instead of a ratio, as "220px"
 * @property {boolean} [axes]  default true
 * @property {boolean} [lazy]  default true
 * @property {{from: number, to: number}|null} [region]  chosen at the beginning
 * @property {(region: {from: number, to: number}|null, done: boolean) => void} [onRegion]  makes regions selectable
 * @property {number} [regionMin]  least length in s
 * @property {(s: number) => void} [onSeek]  a click, in seconds
 * @property {(about: {startS: number, endS: number, minHz: number, maxHz: number}) => void} [onLoad]
 */

const QUEUE_MAX = 6;
let busy = 0;
/** @type {(() => void)[]} */
const queue = [];

/** Run at most a few picture requests at once, the newest wish first: what is on the screen now matters most. */
function turn(signal) {
  if (busy < QUEUE_MAX) {
    busy += 1;
    return Promise.resolve();
  }
  return new Promise((done, fail) => {
    const go = () => {
      busy += 1;
      done();
    };
    queue.unshift(go);
    signal.addEventListener(
      "abort",
      () => {
        const at = queue.indexOf(go);
        if (at >= 0) queue.splice(at, 1);
        fail(new ApiError({ kind: "aborted", message: "no longer wanted" }));
      },
      { once: true },
    );
  });
}

function release() {
  busy -= 1;
  queue.shift()?.();
}

const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) target.onNear?.(isIntersecting);
  },
  { rootMargin: "500px 0px" },
);

/** @param {Options} options */
export function spectrogram(options) {
  let { src, params = {}, alt, mark = null } = options;
  const about = { startS: options.startS ?? 0, endS: options.endS ?? 1, minHz: 0, maxHz: 12000, known: false };
  let stop = null;
  let blobUrl = "";
  let loaded = false;
  let visible = options.lazy === false;

  const img = h("img", { class: "spec__img", alt, decoding: "async", draggable: "false", hidden: true });
  const markEl = h("div", { class: "spec__mark", hidden: true });
  const cursorEl = h("div", { class: "spec__cursor", hidden: true });
  const message = h("div", { class: "spec__message", hidden: true });
  const plot = h("div", { class: "spec__plot is-waiting" }, img, markEl, cursorEl, message);
  const yAxis = h("div", { class: "spec__y", "aria-hidden": "true" });
  const xAxis = h("div", { class: "spec__x", "aria-hidden": "true" });
  const axes = options.axes !== false;
  const el = h(
    "div",
    {
      class: ["spec", !axes && "spec--bare"],
      style: {
        "--spec-ratio": options.height ? null : String(options.ratio ?? 400 / 220),
        "--spec-height": options.height,
      },
    },
    axes && yAxis,
    plot,
    axes && xAxis,
  );

  const share = (s) => (s - about.startS) / (about.endS - about.startS);
  const secondsAt = (clientX) => {
    const box = plot.getBoundingClientRect();
    return about.startS + Math.min(1, Math.max(0, (clientX - box.left) / box.width)) * (about.endS - about.startS);
  };
  const layer = options.onRegion
    ? regionLayer({
        plot,
        about,
        share,
        secondsAt,
        region: options.region ?? null,
        min: options.regionMin ?? 0.5,
        onRegion: options.onRegion,
        onSeek: options.onSeek,
      })
    : null;
  if (!layer && options.onSeek) plot.addEventListener("click", (event) => options.onSeek(secondsAt(event.clientX)));

  function drawAxes() {
    if (mark) {
      const from = Math.max(0, share(mark.from));
      const to = Math.min(1, share(mark.to));
      markEl.style.left = `${100 * from}%`;
      markEl.style.width = `${100 * (to - from)}%`;
    }
    markEl.hidden = !mark || !about.known || (share(mark.from) <= 0.001 && share(mark.to) >= 0.999);
    layer?.draw();
    if (!axes) return;
    const scale = prefs.get("spectrogram").scale;
    const wide = plot.clientWidth || 300;
    const high = plot.clientHeight || 160;
    xAxis.replaceChildren(
      ...timeTicks(about.startS, about.endS, Math.max(2, Math.round(wide / 70))).map((s) =>
        tick("left", share(s), offset(s)),
      ),
    );
    if (!about.known) yAxis.replaceChildren();
    else {
      const found = hzTicks(about.minHz, about.maxHz, scale, Math.max(3, Math.round(high / 42)));
      yAxis.replaceChildren(
        h("span", { class: "spec__unit" }, "kHz"),
        ...found
          .filter((hz) => (1 - heightOf(hz, about.minHz, about.maxHz, scale)) * high > 18)
          .map((hz) => tick("bottom", heightOf(hz, about.minHz, about.maxHz, scale), kHz(hz, false))),
      );
    }
  }

  async function load() {
    stop?.abort();
    stop = new AbortController();
    const { signal } = stop;
    let mine = false;
    plot.classList.add("is-waiting");
    message.hidden = true;
    try {
      await turn(signal);
      mine = true;
      const response = await request(
        url(src, { ...prefs.spectrogramParams(), ...params }),
        { signal },
        { repeat: true },
      );
      const blob = await response.blob();
      const number = (name, otherwise) => (response.headers.has(name) ? Number(response.headers.get(name)) : otherwise);
      Object.assign(about, {
        startS: number("X-Start-S", about.startS),
        endS: number("X-End-S", about.endS),
        minHz: number("X-Min-Hz", 0),
        maxHz: number("X-Max-Hz", 12000),
        known: true,
      });
      if (signal.aborted) return;
      const before = blobUrl;
      blobUrl = URL.createObjectURL(blob);
      img.src = blobUrl;
      await img.decode();
      if (before) URL.revokeObjectURL(before);
      img.hidden = false;
      loaded = true;
      plot.classList.remove("is-waiting");
      drawAxes();
      options.onLoad?.(about);
    } catch (error) {
      if (signal.aborted || error.kind === "aborted") return;
      plot.classList.remove("is-waiting");
      showError(error);
    } finally {
      if (mine) release();
    }
  }

  function showError(error) {
    message.hidden = false;
    img.hidden = true;
    message.replaceChildren(
      h("span", null, error instanceof ApiError ? error.message : "the picture cannot be shown"),
      h(
        "button",
        {
          class: "btn btn--small",
          type: "button",
          onclick: (event) => {
            event.stopPropagation();
            load();
          },
        },
        "Try again",
      ),
    );
  }

  el.onNear = (isNear) => {
    if (isNear && !visible) {
      visible = true;
      drawAxes();
      load();
    } else if (!isNear && visible && !loaded && options.lazy !== false) {
      visible = false; // scrolled past before it came: leave the line to others
      stop?.abort();
    }
  };
  const offCursor = options.playerId ? player.follow(options.playerId, (s) => setCursor(s)) : () => {};
  const offPrefs = prefs.on("spectrogram", () => (visible ? load() : undefined));

  function setCursor(s) {
    cursorEl.hidden = s === null || s === undefined;
    if (!cursorEl.hidden)
      cursorEl.style.transform = `translateX(${Math.min(1, Math.max(0, share(s))) * plot.clientWidth}px)`;
  }

  if (options.lazy === false) {
    requestAnimationFrame(drawAxes);
    load();
  } else near.observe(el);
  const resized = new ResizeObserver(() => (visible ? drawAxes() : undefined));
  if (axes) resized.observe(plot);

  return {
    el,
    about,
    /** Show another sound or stretch of it. */
    setSrc(next, nextParams, more = {}) {
      src = next;
      params = nextParams;
      if ("mark" in more) mark = more.mark;
      if (more.alt) img.alt = more.alt;
      if (visible) load();
    },
    setMark(next) {
      mark = next;
      drawAxes();
    },
    /** Choose a region, or null; the page's own change, so `onRegion` is not called. */
    setRegion: (region) => layer?.set(region),
    setCursor,
    secondsAt,
    redraw: drawAxes,
    reload: load,
    /** The plot, for layers of one's own (positions in %, see `share`). */
    plot,
    share,
    destroy() {
      near.unobserve(el);
      resized.disconnect();
      stop?.abort();
      offCursor();
      offPrefs();
      layer?.destroy();
      if (blobUrl) URL.revokeObjectURL(blobUrl);
    },
  };
}

function tick(side, at, text) {
  return h(
    "span",
    {
      class: ["spec__tick", at < 0.03 && "is-first", at > 0.97 && "is-last"],
      style: { [side]: `${(100 * at).toFixed(2)}%` },
    },
    text,
  );
}

/** Below the spectrogram: what the model found in each window, and what was annotated. One canvas, however long the recording. */
import { h } from "../../core/dom.js";
import { fixed, offset, speciesName } from "../../core/format.js";

const ANNOTATION_H = 20;
const GAP = 4;
const WINDOW_H = 34;
const HEIGHT = ANNOTATION_H + GAP + WINDOW_H;
const TEXT_MIN = 46;

/**
 * @param {{onWindow: (index: number) => void, onAnnotation: (annotation: any) => void}} options
 */
export function lanes({ onWindow, onAnnotation }) {
  const canvas = h("canvas", { class: "lanes-canvas", "aria-hidden": "true" });
  const names = [
    "ramp-0",
    "ramp-1",
    "ramp-2",
    "ramp-3",
    "ramp-4",
    "ramp-5",
    "positive",
    "negative",
    "uncertain",
    "ink",
    "select",
    "paper",
    "line",
  ];
  const inks = Object.fromEntries(
    names.map((name) => [name, h("i", { class: `lane-ink lane-ink-${name}`, hidden: true })]),
  );
  const tip = h("div", { class: "lanes-tip", hidden: true });
  const element = h("div", { class: "lanes" }, h("div", { class: "lanes-pad" }, canvas, tip), Object.values(inks));
  let model = { windows: [], annotations: [], from: 0, to: 1, selected: -1, label: "" };
  let colours = {};

  const resized = new ResizeObserver(() => draw());
  resized.observe(canvas.parentElement);
  const themed = new MutationObserver(() => draw());
  themed.observe(document.documentElement, { attributes: true });

  /** The score that colours a window: of the chosen species, or of the best one. */
  const scoreOf = (window) =>
    model.label ? (window.top.find((t) => t.label === model.label)?.score ?? 0) : (window.top[0]?.score ?? 0);
  const nameOf = (window) => (model.label ? model.label : (window.top[0]?.label ?? ""));

  function draw() {
    const width = canvas.parentElement.clientWidth;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${HEIGHT}px`;
    colours = Object.fromEntries(Object.entries(inks).map(([name, ink]) => [name, getComputedStyle(ink).color]));
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    pen.font = `11px ${getComputedStyle(element).fontFamily}`;
    pen.textBaseline = "middle";
    drawAnnotations(pen, width);
    drawWindows(pen, width);
  }

  const x = (s, width) => ((s - model.from) / (model.to - model.from)) * width;

  function drawWindows(pen, width) {
    const top = ANNOTATION_H + GAP;
    pen.fillStyle = colours["ramp-0"];
    pen.fillRect(0, top, width, WINDOW_H);
    const [first, last] = visible();
    // More windows than pixels: each pixel shows the best of its windows.
    const best = new Map();
    for (let i = first; i <= last; i += 1) {
      const window = model.windows[i];
      const [a, b] = [x(window.start_s, width), x(window.end_s, width)];
      const score = scoreOf(window);
      if (b - a < 1.5) {
        const at = Math.floor(a);
        best.set(at, Math.max(best.get(at) ?? 0, score));
        continue;
      }
      pen.fillStyle = ramp(score);
      const next = model.windows[i + 1];
      const end = next ? Math.min(b, x(next.start_s, width)) : b; // where windows overlap, the later one is seen
      pen.fillRect(a, top, Math.max(0.8, end - a - (end - a > 5 ? 1 : 0)), WINDOW_H);
      if (end - a > TEXT_MIN && score >= 0.05)
        (words(pen, speciesName(nameOf(window)), a + 5, top + 11, end - a - 8, score),
          words(pen, fixed(score, 2), a + 5, top + 25, end - a - 8, score));
    }
    for (const [at, score] of best) {
      pen.fillStyle = ramp(score);
      pen.fillRect(at, top, 1.2, WINDOW_H);
    }
    const chosen = model.windows[model.selected];
    if (chosen) {
      pen.strokeStyle = colours.select;
      pen.lineWidth = 2;
      const a = x(chosen.start_s, width);
      pen.strokeRect(a + 1, top + 1, Math.max(3, x(chosen.end_s, width) - a - 2), WINDOW_H - 2);
    }
  }

  function drawAnnotations(pen, width) {
    for (const annotation of model.annotations) {
      const [a, b] = [x(annotation.start_s, width), x(annotation.end_s, width)];
      if (b < 0 || a > width) continue;
      pen.fillStyle = colours[annotation.judgement] || colours.uncertain;
      pen.globalAlpha = 0.9;
      pen.fillRect(a, 2, Math.max(3, b - a - 1), ANNOTATION_H - 4);
      pen.globalAlpha = 1;
      if (b - a > TEXT_MIN) {
        pen.fillStyle = colours.paper;
        clipped(pen, speciesName(annotation.label), a + 5, ANNOTATION_H / 2, b - a - 8);
      }
    }
  }

  function words(pen, text, at, y, room, score) {
    pen.fillStyle = score > 0.45 ? colours.paper : colours.ink;
    clipped(pen, text, at, y, room);
  }

  function clipped(pen, text, at, y, room) {
    let shown = text;
    while (shown.length > 1 && pen.measureText(shown).width > room) shown = shown.slice(0, -2).trimEnd();
    pen.fillText(shown === text ? text : `${shown.slice(0, -1)}…`, at, y);
  }

  function ramp(score) {
    return colours[`ramp-${score < 0.05 ? 0 : Math.min(5, 1 + Math.floor(score * 5))}`];
  }

  /** First and last window that is seen (windows are in order of their starts). */
  function visible() {
    const { windows, from, to } = model;
    if (!windows.length) return [0, -1];
    let low = 0;
    let high = windows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (windows[middle].end_s <= from) low = middle + 1;
      else high = middle;
    }
    let last = low;
    while (last < windows.length && windows[last].start_s < to) last += 1;
    return [low, last - 1];
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const s = model.from + ((event.clientX - box.left) / box.width) * (model.to - model.from);
    if (event.clientY - box.top < ANNOTATION_H + GAP / 2)
      return { annotation: model.annotations.find((a) => s >= a.start_s && s <= a.end_s) };
    const [first, last] = visible();
    for (let i = last; i >= first; i -= 1)
      if (s >= model.windows[i].start_s && s < model.windows[i].end_s) return { window: i };
    return {};
  }
  canvas.addEventListener("click", (event) => {
    const found = at(event);
    if (found.annotation) onAnnotation(found.annotation);
    else if (found.window !== undefined) onWindow(found.window);
  });
  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
  });
  canvas.addEventListener("pointermove", (event) => {
    const found = at(event);
    const said = found.annotation
      ? `${speciesName(found.annotation.label)} · ${found.annotation.judgement}${found.annotation.annotator ? ` · ${found.annotation.annotator}` : ""}`
      : found.window !== undefined
        ? `${offset(model.windows[found.window].start_s)} · ${model.windows[found.window].top.map((t) => `${speciesName(t.label)} ${fixed(t.score, 2)}`).join(", ") || "nothing found"}`
        : "";
    tip.hidden = !said;
    tip.textContent = said;
    const box = canvas.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(event.clientX - box.left - tip.offsetWidth / 2, box.width - tip.offsetWidth))}px`;
  });

  return {
    element,
    set(changes) {
      model = { ...model, ...changes };
      draw();
    },
    destroy() {
      resized.disconnect();
      themed.disconnect();
    },
  };
}

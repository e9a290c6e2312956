/** How the whole archive was scored, with a threshold to drag: what share and how many hits would result. */
import { h, svg } from "../../core/dom.js";
import { count, fixed, percent } from "../../core/format.js";
import { log } from "./plots.js";

const WIDTH = 720;
const HEIGHT = 230;
const LEFT = 52;
const RIGHT = 14;
const TOP = 26;
const BOTTOM = 34;
const INNER_W = WIDTH - LEFT - RIGHT;
const INNER_H = HEIGHT - TOP - BOTTOM;

/** How many of `counts` lie at or above a threshold; within a bin they are taken as spread evenly. */
export function above(edges, counts, threshold) {
  let sum = 0;
  counts.forEach((n, i) => {
    const [low, high] = [edges[i], edges[i + 1]];
    if (low >= threshold) sum += n;
    else if (high > threshold) sum += (n * (high - threshold)) / (high - low);
  });
  return Math.round(sum);
}

/**
 * @param {{label: string, threshold: number, edges: number[], counts: number[], positive?: number[], negative?: number[], floor?: number, below?: number, positive_below?: number, source?: string, scored: number, windows: number}} data
 * @param {{threshold?: number, onChange?: (threshold: number) => void}} [options]  onChange: when a drag ends
 */
export function thresholdPlot(data, { threshold = data.threshold, onChange } = {}) {
  const { edges, counts, positive = [], negative = [] } = data;
  const [first, last] = [edges[0], edges.at(-1)];
  const x = (score) => LEFT + ((score - first) / (last - first)) * INNER_W;
  const most = log(Math.max(1, ...counts));
  const y = (n) => TOP + INNER_H - (log(n) / most) * INNER_H;
  const floor = TOP + INNER_H;
  const bars = counts.map(
    (n, i) =>
      n > 0 &&
      svg(
        "rect",
        {
          x: x(edges[i]) + 0.5,
          y: y(n),
          width: Math.max(0.6, x(edges[i + 1]) - x(edges[i]) - 1),
          height: floor - y(n),
          class: "bar",
        },
        svg("title", null, `${fixed(edges[i], 2)} to ${fixed(edges[i + 1], 2)}: ${count(n)} windows`),
      ),
  );
  const dots = (list, kind, low) =>
    list.map(
      (n, i) =>
        n > 0 &&
        svg(
          "circle",
          { cx: (x(edges[i]) + x(edges[i + 1])) / 2, cy: low, r: Math.min(5.5, 1.6 + Math.sqrt(n)), class: kind },
          svg("title", null, `${count(n)} judged ${kind}, ${fixed(edges[i], 2)} to ${fixed(edges[i + 1], 2)}`),
        ),
    );
  const powers = [0, 1, 2, 3, 4, 5, 6, 7].filter((k) => log(10 ** k) <= most * 1.001);
  const hidden = svg("rect", { x: LEFT, y: TOP, width: 0, height: INNER_H, class: "unmarked" });
  const rule = svg(
    "g",
    { class: "handle" },
    svg("line", { x1: 0, x2: 0, y1: TOP - 10, y2: floor }),
    svg("circle", { cx: 0, cy: TOP - 10, r: 7 }),
  );
  const usual = svg("line", { x1: x(data.threshold), x2: x(data.threshold), y1: TOP, y2: floor, class: "usual" });
  const scene = svg(
    "svg",
    {
      class: "plot threshold-plot",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `Scores of ${count(data.scored)} windows for ${data.label}, on a logarithmic scale`,
    },
    powers.map((k) => [
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(10 ** k), y2: y(10 ** k), class: "grid" }),
      svg("text", { x: LEFT - 7, y: y(10 ** k) + 3.5, class: "tick", "text-anchor": "end" }, count(10 ** k)),
    ]),
    bars,
    dots(positive, "positive", floor - 9),
    dots(negative, "negative", floor - 20),
    [0, 0.25, 0.5, 0.75, 1]
      .filter((v) => v >= first && v <= last)
      .map((v) => svg("text", { x: x(v), y: floor + 15, class: "tick", "text-anchor": "middle" }, String(v))),
    svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: floor, y2: floor, class: "axis" }),
    svg("text", { x: WIDTH - RIGHT, y: floor + 30, class: "axis-name", "text-anchor": "end" }, "score"),
    svg("text", { x: 2, y: 12, class: "axis-name" }, "windows, log scale"),
    hidden,
    usual,
    rule,
  );
  const slider = h("input", {
    type: "range",
    class: "range",
    min: first,
    max: last,
    step: 0.005,
    value: threshold,
    "aria-label": `Threshold for ${data.label}`,
  });
  const said = h("output", { class: "threshold-said" });
  const back = h(
    "button",
    { class: "btn btn--small", type: "button", onclick: () => set(data.threshold, true) },
    "Back to the probe's own",
  );

  function set(next, done) {
    threshold = Math.min(last, Math.max(first, next));
    const at = x(threshold);
    rule.setAttribute("transform", `translate(${at} 0)`);
    hidden.setAttribute("width", Math.max(0, at - LEFT));
    slider.value = String(threshold);
    // A sample stands for the whole archive.
    const hits = Math.round(
      above(edges, counts, threshold) * (data.source === "vectors" && data.scored ? data.windows / data.scored : 1),
    );
    const yes = above(edges, positive, threshold);
    const no = above(edges, negative, threshold);
    const judged = positive.reduce((a, b) => a + b, 0) + (data.positive_below || 0);
    said.replaceChildren(
      h("span", null, h("b", null, fixed(threshold, 3)), " threshold"),
      h(
        "span",
        null,
        h("b", null, `about ${count(hits)}`),
        ` hits, ${percent(data.windows ? hits / data.windows : NaN, 2)} of all windows`,
      ),
      judged || negative.some(Boolean)
        ? h(
            "span",
            null,
            h("b", null, `${count(yes)} of ${count(judged)}`),
            " judged positives stay; ",
            h("b", null, count(no)),
            " judged negatives pass",
          )
        : h("span", { class: "muted" }, "no window was judged yet"),
    );
    slider.setAttribute("aria-valuetext", `${fixed(threshold, 3)}: about ${count(hits)} hits`);
    back.disabled = Math.abs(threshold - data.threshold) < 1e-6;
    if (done) onChange?.(threshold);
  }

  const at = (event) => {
    const box = scene.getBoundingClientRect();
    return first + ((((event.clientX - box.left) / box.width) * WIDTH - LEFT) / INNER_W) * (last - first);
  };
  scene.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    scene.setPointerCapture(event.pointerId);
    set(at(event), false);
    const move = (moved) => set(at(moved), false);
    const up = () => {
      scene.removeEventListener("pointermove", move);
      set(threshold, true);
    };
    scene.addEventListener("pointermove", move);
    scene.addEventListener("pointerup", up, { once: true });
    scene.addEventListener("pointercancel", up, { once: true });
  });
  slider.addEventListener("input", () => set(Number(slider.value), false));
  slider.addEventListener("change", () => set(Number(slider.value), true));
  set(threshold, false);
  const few =
    data.source !== "vectors" && data.scored < data.windows
      ? `${count(data.windows - data.scored)} of ${count(data.windows)} windows are not scored yet. `
      : "";
  return h(
    "div",
    { class: "threshold" },
    scene,
    h("div", { class: "threshold-row" }, slider, back),
    said,
    h(
      "p",
      { class: "muted small" },
      `${few}${data.floor ? `${count(data.below || 0)} windows have a score below ${data.floor}, which was not kept. ` : ""}The thin line is the probe's own threshold; dots are windows that were judged.`,
    ),
  );
}

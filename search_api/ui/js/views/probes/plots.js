/** The report's plots as SVG, in the page's own colours. Each says in words what it shows, for those who do not see it. */
import { svg } from "../../core/dom.js";
import { count, fixed } from "../../core/format.js";

const WIDTH = 360;
const HEIGHT = 220;
const LEFT = 42;
const RIGHT = 10;
const TOP = 26;
const BOTTOM = 36;
const INNER_W = WIDTH - LEFT - RIGHT;
const INNER_H = HEIGHT - TOP - BOTTOM;
const FLOOR = HEIGHT - BOTTOM;
const QUARTERS = [0, 0.25, 0.5, 0.75, 1];
const xOf = (share) => LEFT + share * INNER_W;
const yOf = (share) => TOP + (1 - share) * INNER_H;
const held = (x) => Math.min(1, Math.max(0, x));

/** A picture of a size, that scales with the page. */
export const picture = (label, children, { width = WIDTH, height = HEIGHT, kind = "plot" } = {}) =>
  svg(
    "svg",
    {
      class: kind,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": label,
      style: kind === "plot matrix" ? { maxWidth: `${Math.round(width)}px` } : null,
    },
    children,
  );
export const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });
export const words = (x, y, text, kind = "tick", anchor = "start") =>
  svg("text", { x, y, class: kind, "text-anchor": anchor }, text);

const sharesX = () => QUARTERS.map((v) => [xOf(v), String(v)]);
const sharesY = () => QUARTERS.map((v) => [yOf(v), String(v)]);

/** Grid, axes, their names and ticks. */
function frame(xTicks, yTicks, xName, yName) {
  return [
    yTicks.map(([y]) => line(LEFT, y, WIDTH - RIGHT, y, "grid")),
    yTicks.map(([y, text]) => words(LEFT - 7, y + 3.5, text, "tick", "end")),
    xTicks.map(([x, text]) => words(x, FLOOR + 15, text, "tick", "middle")),
    line(LEFT, FLOOR, WIDTH - RIGHT, FLOOR, "axis"),
    words(WIDTH - RIGHT, FLOOR + 31, xName, "axis-name", "end"),
    words(2, 11, yName, "axis-name"),
  ];
}

const nothing = (text) => words(LEFT + INNER_W / 2, TOP + INNER_H / 2, text, "note", "middle");

function chanceLine(chance) {
  if (!Number.isFinite(chance)) return [];
  const y = yOf(chance);
  return [
    line(LEFT, y, WIDTH - RIGHT, y, "chance"),
    words(LEFT + 5, y > TOP + 14 ? y - 4 : y + 12, `chance ${fixed(chance, 2)}`, "note chance-name"),
  ];
}

/** A value from 0 to 1 as a dot with its interval; chance as an upright mark. */
export function strip(label, value, interval, chance, width = 160) {
  const x = (v) => 5 + held(v) * (width - 10);
  const span = known(interval);
  const said = `${label} ${fixed(value)}${span ? `, 95 % interval ${fixed(interval[0])} to ${fixed(interval[1])}` : ""}${Number.isFinite(chance) ? `, chance ${fixed(chance)}` : ""}`;
  return picture(
    said,
    [
      svg("title", null, said),
      line(5, 8, width - 5, 8, "rail"),
      span && line(x(interval[0]), 8, x(interval[1]), 8, "span"),
      Number.isFinite(chance) && line(x(chance), 2, x(chance), 14, "chance"),
      Number.isFinite(value) && svg("circle", { cx: x(value), cy: 8, r: 3.6, class: "dot" }),
    ],
    { width, height: 16, kind: "strip" },
  );
}

export const known = (pair) => Array.isArray(pair) && pair.every((v) => Number.isFinite(v));

/** Precision against recall; the ring is the threshold. */
export function curvePlot(name, curve, row) {
  const recall = curve?.recall || [];
  const precision = curve?.precision || [];
  const axes = frame(sharesX(), sharesY(), "recall", "precision");
  if (!recall.length) return picture(`${name}: no curve`, [axes, nothing("no positives or no negatives in the test")]);
  const path = `M${xOf(0)} ${yOf(precision[0])}${recall.map((r, i) => `H${xOf(r).toFixed(1)}V${yOf(precision[i + 1] ?? precision.at(-1)).toFixed(1)}`).join("")}`;
  const marks = [];
  if (Number.isFinite(row.recall) && Number.isFinite(row.precision)) {
    const [x, y] = [xOf(row.recall), yOf(row.precision)];
    const right = x + 96 < WIDTH - RIGHT;
    marks.push(svg("circle", { cx: x, cy: y, r: 4.5, class: "chosen" }));
    marks.push(
      words(
        right ? x + 9 : x - 9,
        y < TOP + 18 ? y + 18 : y - 9,
        `threshold ${fixed(row.threshold, 2)}`,
        "note",
        right ? "start" : "end",
      ),
    );
  }
  return picture(
    `${name}: precision against recall; average precision ${fixed(row.ap)}, chance ${fixed(row.ap_chance)}`,
    [axes, chanceLine(row.ap_chance), svg("path", { d: path, class: "curve" }), marks],
  );
}

/** Counts on a scale on which one window is seen beside thousands. */
export const log = (n) => Math.log10(1 + n);

/** Scores of positives upwards, of negatives downwards, on a scale that shows single windows too. */
export function scoresPlot(name, bins, threshold) {
  const edges = bins?.edges || [];
  const up = bins?.positive || [];
  const down = bins?.negative || [];
  const weak = bins?.weak || down.map(() => 0);
  const below = down.map((n, i) => n + (weak[i] || 0));
  if (!edges.length || ![...up, ...below].some(Boolean))
    return picture(`${name}: no scores`, [frame(sharesX(), [], "score", "windows"), nothing("no windows in the test")]);
  const unit = INNER_H / Math.max(log(Math.max(...up)) + log(Math.max(...below)), 0.1);
  const zero = TOP + log(Math.max(...up)) * unit;
  const bars = up.map((n, i) => {
    const x = xOf(edges[i]) + 0.6;
    const width = Math.max(0.5, xOf(edges[i + 1]) - xOf(edges[i]) - 1.2);
    const bar = (y, height, kind) => height > 0 && svg("rect", { x, y, width, height, class: kind });
    return [
      bar(zero - log(n) * unit, log(n) * unit, "positive"),
      bar(zero, log(down[i]) * unit, "negative"),
      bar(zero + log(down[i]) * unit, (log(below[i]) - log(down[i])) * unit, "weak"),
    ];
  });
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  return picture(
    `${name}: scores of ${count(sum(up))} positives, ${count(sum(down))} negatives and ${count(sum(weak))} weak negatives`,
    [
      frame(sharesX(), ticks(zero, unit, Math.max(...up), Math.max(...below)), "score", "windows, log scale"),
      bars,
      line(LEFT, zero, WIDTH - RIGHT, zero, "axis"),
      thresholdMark(threshold),
    ],
  );
}

function thresholdMark(threshold) {
  if (!Number.isFinite(threshold)) return [];
  const x = xOf(held(threshold));
  const right = threshold < 0.7;
  return [
    line(x, TOP, x, FLOOR, "threshold"),
    words(x + (right ? 4 : -4), TOP - 5, `threshold ${fixed(threshold, 2)}`, "note", right ? "start" : "end"),
  ];
}

/** 1, 10, 100 … upwards and downwards of zero, as far as there is room. */
function ticks(zero, unit, up, down) {
  const kept = [[zero, "0"]];
  for (const [most, sign] of [
    [up, -1],
    [down, 1],
  ])
    for (let k = 6; k >= 0; k -= 1) {
      const y = zero + sign * log(10 ** k) * unit;
      if (10 ** k <= most && kept.every(([other]) => Math.abs(y - other) >= 13)) kept.push([y, count(10 ** k)]);
    }
  return kept;
}

/**
 * How often a score was right: of the tried windows in each fifth of the scores, the share with the class. Weak negatives count
 * as negatives. Points on the diagonal: the score can be read as a probability.
 */
export function calibrationPlot(name, bins) {
  const points = calibration(bins);
  const axes = frame(sharesX(), sharesY(), "score", "share that has it");
  if (!points.length) return picture(`${name}: no calibration`, [axes, nothing("too few windows in the test")]);
  const most = Math.max(...points.map((p) => p.n));
  return picture(
    `${name}: ${points.map((p) => `of ${count(p.n)} windows scored about ${fixed(p.score, 2)}, ${fixed(p.share, 2)} have it`).join("; ")}`,
    [
      axes,
      line(xOf(0), yOf(0), xOf(1), yOf(1), "chance"),
      points.map(
        (p) => known(p.interval) && line(xOf(p.score), yOf(p.interval[0]), xOf(p.score), yOf(p.interval[1]), "span"),
      ),
      svg("polyline", {
        points: points.map((p) => `${xOf(p.score).toFixed(1)},${yOf(p.share).toFixed(1)}`).join(" "),
        class: "curve",
      }),
      points.map((p) =>
        svg(
          "circle",
          { cx: xOf(p.score), cy: yOf(p.share), r: 3 + 3 * Math.sqrt(p.n / most), class: "dot" },
          svg("title", null, `${count(p.n)} windows, ${fixed(100 * p.share, 0)} % have it`),
        ),
      ),
    ],
  );
}

/** @returns {{score: number, share: number, n: number, interval: [number, number]}[]} per fifth of the scores that holds windows */
export function calibration(bins, groups = 5) {
  const { edges = [], positive = [], negative = [], weak = [] } = bins || {};
  const sums = Array.from({ length: groups }, () => ({ n: 0, yes: 0, score: 0 }));
  positive.forEach((yes, i) => {
    const middle = (edges[i] + edges[i + 1]) / 2;
    const n = yes + (negative[i] || 0) + (weak[i] || 0);
    const sum = sums[Math.min(groups - 1, Math.floor(middle * groups))];
    sum.n += n;
    sum.yes += yes;
    sum.score += n * middle;
  });
  return sums
    .filter((s) => s.n > 0)
    .map((s) => ({ n: s.n, share: s.yes / s.n, score: s.score / s.n, interval: wilson(s.yes, s.n) }));
}

/** 95 % interval of a share (Wilson). */
export function wilson(yes, n) {
  const z = 1.959964;
  const p = yes / n;
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  // A rounding must not put the share itself outside.
  return [Math.min(p, held(middle - half)), Math.max(p, held(middle + half))];
}

/** A metric against the number of positives that were trained on; the band goes from the lowest to the highest draw. */
export function learningPlot(rows, key, title, chance) {
  const step = INNER_W / Math.max(rows.length - 1, 1);
  const x = (i) => (rows.length > 1 ? LEFT + step * i : LEFT + INNER_W / 2);
  const axes = frame(
    rows.map((row, i) => [x(i), String(row.shots)]),
    sharesY(),
    "positives of each class",
    title,
  );
  const there = rows.map((row, i) => ({ ...row, i })).filter((row) => Number.isFinite(row[key]));
  if (!there.length) return picture(`${title}: no values`, [axes, nothing("no value is known")]);
  const banded = there.filter((row) => Number.isFinite(row[`${key}_low`]));
  const at = (row, field) => `${x(row.i).toFixed(1)},${yOf(row[field]).toFixed(1)}`;
  const last = there.at(-1);
  const below = yOf(last[key]) < TOP + 16;
  return picture(`${title}: ${there.map((row) => `${row.shots} positives ${fixed(row[key])}`).join(", ")}`, [
    axes,
    chanceLine(chance),
    banded.length > 1 &&
      svg("polygon", {
        points: [
          ...banded.map((r) => at(r, `${key}_high`)),
          ...banded.toReversed().map((r) => at(r, `${key}_low`)),
        ].join(" "),
        class: "band",
      }),
    svg("polyline", { points: there.map((row) => at(row, key)).join(" "), class: "curve" }),
    there.map((row) =>
      svg(
        "circle",
        { cx: x(row.i), cy: yOf(row[key]), r: 3.2, class: "dot" },
        svg("title", null, `${row.shots}: ${fixed(row[key])}`),
      ),
    ),
    words(x(last.i), yOf(last[key]) + (below ? 17 : -9), fixed(last[key]), "note strong", "end"),
  ]);
}

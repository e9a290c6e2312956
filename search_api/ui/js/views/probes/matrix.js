/** The confusion matrix as SVG. */
import { svg } from "../../core/dom.js";
import { count, speciesName } from "../../core/format.js";
import { picture, words } from "./plots.js";

/** What is taken for what: a row is what there is, a column what the probe says; shaded by the share of the row. @param {{labels?: string[], counts?: number[][]}} confusion */
export function matrixPlot(confusion) {
  const { labels = [], counts = [] } = confusion || {};
  if (!labels.length || !counts.flat().some(Boolean)) return null;
  const size = labels.length > 16 ? 20 : 32;
  const short = (text) => {
    const name = speciesName(text);
    return name.length > 22 ? `${name.slice(0, 20)}…` : name;
  };
  const letters = Math.max(...labels.map((label) => short(label).length));
  const side = letters * 6.2 + 16;
  const top = letters * 4.6 + 34;
  const middle = (n) => n * size + size / 2;
  const cells = counts.map((row, i) => {
    const all = row.reduce((a, b) => a + b, 0) || 1;
    return row.map((n, j) => [
      svg(
        "rect",
        {
          x: side + j * size,
          y: top + i * size,
          width: size - 2,
          height: size - 2,
          rx: 3,
          class: n ? (i === j ? "right" : "wrong") : "none",
          "fill-opacity": n ? 0.18 + 0.82 * (n / all) : 1,
        },
        svg(
          "title",
          null,
          `${speciesName(labels[i])} taken for ${speciesName(labels[j])}: ${count(n)} of ${count(all)}`,
        ),
      ),
      n > 0 &&
        size > 24 &&
        words(side + middle(j) - 1, top + middle(i) + 3, count(n), n / all > 0.55 ? "cell on-dark" : "cell", "middle"),
    ]);
  });
  return picture(
    `Confusion matrix of ${labels.length} classes`,
    [
      words(side, 11, "the probe says →", "axis-name"),
      words(0, top - 8, "there is ↓", "axis-name"),
      labels.map((name, j) =>
        svg("text", { class: "tick", transform: `translate(${side + middle(j)} ${top - 8}) rotate(-45)` }, short(name)),
      ),
      labels.map((name, i) => words(side - 8, top + middle(i) + 3, short(name), "tick", "end")),
      cells,
    ],
    { width: side + labels.length * size + top * 0.75, height: top + labels.length * size + 4, kind: "plot matrix" },
  );
}

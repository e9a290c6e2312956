/** The hits' scores as a small histogram: what is judged is coloured, the chosen card is marked, a bar leads to its first card. */
import { h, replace, svg } from "../../core/dom.js";
import { fixed, plural } from "../../core/format.js";

const BINS = 32;
const WIDTH = 320;
const HEIGHT = 26;

/** @param {{onJump: (index: number) => void}} options */
export function scoreStrip({ onJump }) {
  let hits = [];
  let edges = [0, 1];
  const drawing = svg("svg", {
    class: "strip__svg",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  const marker = h("i", { class: "strip__marker", hidden: true });
  const low = h("span", null, "");
  const high = h("span", null, "");
  const el = h(
    "figure",
    { class: "strip", role: "img", "aria-label": "Scores of the hits", hidden: true },
    h("div", { class: "strip__box" }, drawing, marker),
    h("figcaption", { class: "strip__axis" }, low, h("span", null, "score"), high),
  );
  const binOf = (score) =>
    Math.min(BINS - 1, Math.max(0, Math.floor(((score - edges[0]) / (edges[1] - edges[0])) * BINS)));

  /** @param {any[]} next @param {(hit: any) => string|null} judgementOf */
  function draw(next, judgementOf) {
    hits = next;
    el.hidden = !hits.length;
    if (!hits.length) return;
    const scores = hits.map((hit) => hit.score);
    edges = [Math.min(...scores), Math.max(...scores)];
    if (edges[1] - edges[0] < 1e-6) edges = [edges[0] - 0.005, edges[1] + 0.005];
    const bins = Array.from({ length: BINS }, () => ({
      positive: 0,
      negative: 0,
      uncertain: 0,
      none: 0,
      first: -1,
      n: 0,
    }));
    hits.forEach((hit, index) => {
      const bin = bins[binOf(hit.score)];
      bin[judgementOf(hit) || "none"] += 1;
      bin.n += 1;
      if (bin.first < 0) bin.first = index;
    });
    const most = Math.max(...bins.map((b) => b.n));
    const wide = WIDTH / BINS;
    replace(
      drawing,
      bins.map((bin, i) => {
        let top = HEIGHT;
        const parts = ["positive", "uncertain", "negative", "none"].map((kind) => {
          if (!bin[kind]) return null;
          const tall = (bin[kind] / most) * (HEIGHT - 2);
          top -= tall;
          return svg("rect", {
            class: `strip__bar strip__bar--${kind}`,
            x: i * wide + 0.5,
            width: wide - 1,
            y: top,
            height: tall,
          });
        });
        if (!bin.n) return null;
        const from = edges[0] + (i * (edges[1] - edges[0])) / BINS;
        return svg(
          "g",
          { class: "strip__bin", onclick: () => onJump(bin.first) },
          svg("title", null, `${plural(bin.n, "hit")} at ${fixed(from)}`),
          svg("rect", { class: "strip__hit", x: i * wide, width: wide, y: 0, height: HEIGHT }),
          parts,
        );
      }),
    );
    low.textContent = fixed(edges[0]);
    high.textContent = fixed(edges[1]);
    el.setAttribute(
      "aria-label",
      `Scores of ${plural(hits.length, "hit")}, from ${fixed(edges[0])} to ${fixed(edges[1])}`,
    );
  }

  function mark(hit) {
    marker.hidden = !hit;
    if (hit) marker.style.left = `${(100 * (hit.score - edges[0])) / (edges[1] - edges[0])}%`;
  }
  return { el, draw, mark };
}

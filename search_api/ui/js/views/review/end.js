/** The end of a sitting, and a sitting without windows. */
import { h } from "../../core/dom.js";
import { count, plural } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { href } from "../../core/router.js";
import { empty } from "../../components/empty.js";

/** @typedef {{name: string, queue: any, how: string, k: number, notes: string[], load: () => void, back: () => void}} About */

/** Nothing to judge in this choice. @param {About} about */
export const nothingLeft = (about) =>
  empty({
    icon: "check",
    title: "Nothing left to judge",
    text: [
      about.notes.map((note) => `${note.replace(/\.$/, "")}. `),
      "Choose other windows above, or train again with what was judged.",
    ],
    action: trainLink(about),
  });
const trainLink = ({ name, queue }) =>
  h(
    "a",
    {
      class: "btn btn--primary",
      href: href("/probes", { label: [...new Set(queue.rows.map((row) => row.label))], name }),
    },
    icon("probe"),
    "Train again",
  );

/** All were judged: what to do with them. @param {About} about */
export function sittingEnd(about) {
  const { name, queue, how, k, notes, load, back } = about;
  const sums = queue.sums();
  const judged = sums.positive + sums.negative + sums.uncertain;
  return h(
    "div",
    { class: "stage-end" },
    h("div", { class: "empty__icon" }, icon("check", { size: 30 })),
    h("h2", null, judged ? `${plural(judged, "window")} judged` : "All skipped"),
    h(
      "div",
      { class: "row row--wrap end-sums" },
      [
        ["positive", "yes"],
        ["negative", "no"],
        ["uncertain", "unsure"],
        ["skipped", "skipped"],
      ].map(([key, word]) => sums[key] > 0 && h("span", { class: `badge badge--${key}` }, `${sums[key]} ${word}`)),
    ),
    h(
      "p",
      { class: "muted" },
      how === "bins"
        ? "These judgements count calls: `sonotheque probe density` tells how many, and how sure."
        : "Train again with them, and compare the new version with the one in use.",
    ),
    notes.map((note) => h("p", { class: "muted small" }, note)),
    h(
      "div",
      { class: "row row--wrap end-actions" },
      trainLink(about),
      h("button", { class: "btn", type: "button", onclick: load }, icon("reload"), `${count(k)} more`),
      h("a", { class: "btn", href: `/probes/${encodeURIComponent(name)}?tab=versions` }, "Compare versions"),
      h(
        "button",
        { class: "btn btn--quiet", type: "button", onclick: back, disabled: queue.done === 0 },
        icon("undo"),
        "Undo the last",
      ),
    ),
  );
}

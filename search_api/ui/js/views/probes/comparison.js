/** What the comparison of two versions says, and which was in use when. */
import { h } from "../../core/dom.js";
import { fixed, localTime, plural, speciesName } from "../../core/format.js";
import { interval } from "./words.js";

/** The metrics of a version: key and name. */
export const METRICS = [
  ["map", "mAP"],
  ["cmap", "cmAP"],
  ["roc_auc", "ROC-AUC"],
];

/** What decided: the metric, or what its probabilities cost where the metric is the same. */
function deciding(data) {
  if (data.difference[data.metric]?.value === 0) return "the log loss of its probabilities";
  return METRICS.find(([k]) => k === data.metric)?.[1] ?? data.metric;
}

/** Two versions on the same windows. @param {any} data  of /v1/probes/{name}/compare */
export function comparison(data) {
  const best =
    data.better === "same"
      ? "Both are equally good."
      : data.better === null
        ? "Which is better cannot be told."
        : `Version ${data[data.better].version} is better by ${deciding(data)}.`;
  const row = (name, x, y, difference) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, name),
      h("td", { class: "num" }, fixed(x)),
      h("td", { class: "num" }, fixed(y)),
      h(
        "td",
        { class: ["num", difference?.value > 0 ? "gain" : difference?.value < 0 ? "loss" : null] },
        signed(difference?.value),
        interval(difference?.ci) &&
          h("span", { class: "under" }, `${signed(difference.ci[0])} to ${signed(difference.ci[1])}`),
      ),
    );
  return h(
    "div",
    { class: "stack compare-result" },
    h(
      "p",
      null,
      h("b", null, best),
      ` Judged by ${plural(data.held_out.windows, "held-out window")} of ${plural(data.held_out.recordings, "recording")}, from which neither learnt.`,
    ),
    h(
      "div",
      { class: "table-scroll" },
      h(
        "table",
        { class: "table" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            h("th", { scope: "col" }, ""),
            h("th", { scope: "col", class: "num" }, `version ${data.a.version}`),
            h("th", { scope: "col", class: "num" }, `version ${data.b.version}`),
            h("th", { scope: "col", class: "num" }, "difference, 95 %"),
          ),
        ),
        h(
          "tbody",
          null,
          METRICS.map(([key, name]) => row(name, data.a.macro[key], data.b.macro[key], data.difference[key])),
          row("Log loss (lower is better)", data.a.log_loss, data.b.log_loss, null),
          Object.keys(data.classes || {}).length > 1 &&
            Object.entries(data.classes).map(([name, c]) =>
              row(`${speciesName(name)}: average precision`, c.a.ap, c.b.ap, c.difference.ap),
            ),
        ),
      ),
    ),
    (data.notes || []).map((note) => h("p", { class: "muted small" }, note)),
  );
}

const signed = (x) => (Number.isFinite(x) ? `${x > 0 ? "+" : x < 0 ? "−" : ""}${fixed(Math.abs(x))}` : "–");

/** Which version was in use when, the newest first. @param {any[]} promotions */
export function history(promotions) {
  if (!promotions.length) return null;
  return h(
    "details",
    null,
    h("summary", { class: "small" }, `What was in use when (${promotions.length})`),
    h(
      "ol",
      { class: "history" },
      promotions
        .toReversed()
        .map((p) =>
          h(
            "li",
            null,
            h("b", null, `version ${p.version}`),
            p.forced && h("span", { class: "badge badge--warn" }, "forced"),
            h(
              "span",
              { class: "muted" },
              ` ${localTime(p.utc || p.created_utc || p.at, { seconds: false })}${p.by ? `, by ${p.by}` : ""}`,
            ),
            p.why && h("div", null, p.why),
          ),
        ),
    ),
  );
}

/** The report of one version in the page's own look, from the report's JSON. */
import { h } from "../../core/dom.js";
import { fixed, localTime, speciesName } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { matrixPlot } from "./matrix.js";
import { calibrationPlot, curvePlot, learningPlot, scoresPlot, strip } from "./plots.js";
import { classTable, labelName, sliceTables } from "./report_tables.js";
import { advice, cautions, decisionWords, HEADLINE, interval, leakWords, splitWords, verdict } from "./words.js";

const PLOTS_OPEN = 6;

/** @param {any} report  as /v1/probes/{name}/versions/{v} gives it; null for a version that was brought from elsewhere */
export function reportView(report, { name, version }) {
  if (!report)
    return h("p", { class: "muted" }, `Version ${version} was brought from elsewhere and has no report here.`);
  const test = report.test || {};
  return h(
    "div",
    { class: "report" },
    h("p", { class: "report-lead" }, verdict(report)),
    headline(report),
    cautionBox(report),
    section(
      "Class by class",
      "Below each value: its 95 % interval, then what chance would give.",
      classTable(test.classes),
    ),
    plots(test),
    matrixSection(report),
    learning(report),
    whereSection(test.slices),
    tried(report),
    h(
      "p",
      { class: "report-full" },
      h(
        "a",
        {
          class: "btn",
          href: `/v1/probes/${encodeURIComponent(name)}/versions/${version}/report`,
          target: "_blank",
          rel: "noopener",
        },
        icon("open"),
        "Full report as one page",
      ),
      h("span", { class: "muted small" }, "for print, or to send to a colleague"),
    ),
  );
}

const section = (title, caption, ...children) =>
  h(
    "section",
    { class: "report-section" },
    h("h2", null, title),
    caption && h("p", { class: "muted caption" }, caption),
    children,
  );

function headline(report) {
  const macro = report.test?.macro;
  if (!macro) return null;
  return h(
    "div",
    { class: "numbers" },
    HEADLINE.map(([key, title, what]) => {
      const [value, chance, span] = [macro[key], macro[`${key}_chance`], macro[`${key}_ci`]];
      return h(
        "div",
        { class: "number" },
        h("div", { class: "number-name" }, title, h("span", { class: "muted small" }, what || decisionWords(report))),
        h("div", { class: "number-value" }, fixed(value)),
        strip(title, value, span, chance, 290),
        h(
          "div",
          { class: "number-foot" },
          h("span", { class: "chance-word" }, `chance ${fixed(chance)}`),
          interval(span) && h("span", { class: "muted" }, `95 % ${interval(span)}`),
        ),
      );
    }),
  );
}

function cautionBox(report) {
  const told = cautions(report);
  if (!told.length) return null;
  const item = (text) => h("li", null, text);
  return h(
    "aside",
    { class: "cautions" },
    h("h3", null, "Worth knowing"),
    h("ul", null, told.slice(0, 8).map(item)),
    told.length > 8 &&
      h("details", null, h("summary", null, `${told.length - 8} more`), h("ul", null, told.slice(8).map(item))),
  );
}

function plots(test) {
  const names = Object.keys(test.classes || {});
  if (!names.length) return null;
  const one = (name) =>
    h(
      "div",
      { class: "class-plots" },
      h("h3", null, labelName(name)),
      h(
        "div",
        { class: "plot-row" },
        figure(curvePlot(speciesName(name), test.curves?.[name], test.classes[name])),
        figure(scoresPlot(speciesName(name), test.histograms?.[name], test.classes[name].threshold)),
        figure(calibrationPlot(speciesName(name), test.histograms?.[name])),
      ),
    );
  return section(
    "Curves and scores",
    "Left: precision against recall as the threshold falls; the ring is the threshold. Middle: how the tried windows were scored. Right: how often a score was right, among the windows tried; on the dashed line a score can be read as a probability.",
    h(
      "ul",
      { class: "key" },
      key("positive", "positives, upwards"),
      key("negative", "negatives, downwards"),
      key("weak", "weak negatives: windows that nobody judged"),
    ),
    names.slice(0, PLOTS_OPEN).map(one),
    names.length > PLOTS_OPEN &&
      later(`${names.length - PLOTS_OPEN} more classes`, () => names.slice(PLOTS_OPEN).map(one)),
  );
}

const figure = (child) => h("figure", { class: "figure" }, child);
const key = (kind, text) => h("li", null, h("i", { class: `key-${kind}` }), text);

/** What is behind a fold is drawn when it is opened. */
function later(summary, make) {
  const box = h("details", null, h("summary", null, summary));
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(...make());
  });
  return box;
}

function matrixSection(report) {
  const drawn = matrixPlot(report.test?.confusion);
  if (!drawn) return null;
  const caption =
    report.kind === "multiclass"
      ? "The likeliest class of every window whose class is known."
      : "On the diagonal: windows with the class that were found. Beside it: windows of the row in which the column's class is found and is not.";
  return section(
    "What is taken for what",
    `${caption} Shaded by the share of the row.`,
    h("div", { class: "table-scroll" }, drawn),
  );
}

function learning(report) {
  const rows = report.learning_curve || [];
  if (!rows.length) return null;
  const macro = report.test?.macro || {};
  return section(
    "How many examples are enough",
    `The same test, trained on few positives of each class. Band: lowest to highest of ${Math.max(...rows.map((r) => r.repeats || 0))} draws. ${advice(rows)}`,
    h(
      "div",
      { class: "plot-row" },
      figure(learningPlot(rows, "map", "mean average precision", macro.map_chance)),
      figure(learningPlot(rows, "roc_auc", "ROC-AUC", macro.roc_auc_chance)),
    ),
  );
}

function whereSection(found) {
  const tables = sliceTables(found);
  const caption =
    "Mean average precision of parts of the test. It rises with the share of positives, so compare each part with its own chance.";
  return tables && section("Where it works", caption, tables);
}

function tried(report) {
  const [apart, words] = leakWords(report);
  const facts = [
    ["Trained", localTime(report.created_utc)],
    ["Model", [report.model?.name, report.model?.version].filter(Boolean).join(" ")],
    ["Penalty l2", report.solver?.l2],
    [
      "Threshold rule",
      [report.threshold_rule?.rule?.replace("_", " "), report.threshold_rule?.value]
        .filter((x) => x !== null && x !== undefined)
        .join(" "),
    ],
    ["Calibration", report.calibration?.method],
    ["Seconds", fixed(report.solver?.seconds, 2)],
  ].filter(([, text]) => text !== undefined && text !== null && text !== "");
  return section(
    "How it was tried",
    null,
    h("p", null, splitWords(report)),
    h(
      "p",
      { class: apart === false ? "leak" : null },
      apart === true ? h("strong", null, "Checked. ") : apart === false ? h("strong", null, "Leak. ") : null,
      words,
    ),
    h(
      "dl",
      { class: "facts" },
      facts.map(([term, text]) => [h("dt", null, term), h("dd", null, String(text))]),
    ),
  );
}

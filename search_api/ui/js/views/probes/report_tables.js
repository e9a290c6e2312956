/** The tables of a report: class by class, and part by part. */
import { h } from "../../core/dom.js";
import { count, fixed, species, speciesName } from "../../core/format.js";
import { strip } from "./plots.js";
import { interval, rate, recallChance } from "./words.js";

/** A label as its common name above its scientific one. */
export function labelName(label) {
  const { scientific, common } = species(label);
  return [h("bdi", null, common), scientific && h("i", { class: "scientific" }, scientific)];
}

/** The table of classes. */
export function classTable(rows) {
  const entries = Object.entries(rows || {});
  if (!entries.length) return h("p", { class: "muted" }, "Nothing was held out, so no class could be tried.");
  const head = (text, numeric = true) => h("th", { scope: "col", class: numeric ? "num" : null }, text);
  return h(
    "div",
    { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Class by class" },
    h(
      "table",
      { class: "table class-table" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head("Class", false),
          head("There"),
          head("Not there"),
          head("Average precision"),
          head("0 to 1", false),
          head("ROC-AUC"),
          head("Threshold"),
          head("Precision"),
          head("Recall"),
          head("F1"),
          head("False alarms / h"),
        ),
      ),
      h(
        "tbody",
        null,
        entries.map(([name, row]) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, labelName(name)),
            h("td", { class: "num" }, count(row.n_positive ?? row.n)),
            h(
              "td",
              { class: "num" },
              count(row.n_negative),
              row.n_weak ? h("span", { class: "under" }, `+ ${count(row.n_weak)} weak`) : null,
            ),
            value(row.ap, row.ap_chance, row.ap_ci),
            h(
              "td",
              { class: "pic" },
              strip(`${speciesName(name)}: average precision`, row.ap, row.ap_ci, row.ap_chance, 120),
            ),
            value(row.roc_auc, row.roc_auc_chance ?? (Number.isFinite(row.roc_auc) ? 0.5 : null), row.roc_auc_ci),
            h("td", { class: "num" }, fixed(row.threshold)),
            value(row.precision, row.ap_chance),
            value(row.recall, recallChance(row)),
            value(row.f1, row.f1_chance),
            h("td", { class: "num" }, rate(row.false_alarms_per_hour)),
          ),
        ),
      ),
    ),
  );
}

function value(x, chance, span) {
  return h(
    "td",
    { class: "num" },
    fixed(x),
    interval(span) && h("span", { class: "under" }, interval(span)),
    Number.isFinite(chance) &&
      Number.isFinite(x) &&
      h("span", { class: "under chance-word", title: "chance" }, fixed(chance)),
  );
}

/** Tables of parts of the test, for those that say something; null if none does. @param {Record<string, any>|undefined} found */
export function sliceTables(found) {
  const shown = [
    ["site", "Site"],
    ["hour", "Hour of the day, local"],
    ["snr", "Loudness over noise"],
  ].filter(([field]) => Object.values(found?.[field] || {}).filter((row) => Number.isFinite(row.map)).length > 1);
  if (!shown.length) return null;
  return h(
    "div",
    { class: "slice-row" },
    shown.map(([field, title]) =>
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
              h("th", { scope: "col" }, title),
              h("th", { scope: "col", class: "num" }, "Windows"),
              h("th", { scope: "col", class: "num" }, "mAP"),
              h("th", { scope: "col" }, "0 to 1"),
              h("th", { scope: "col", class: "num" }, "ROC-AUC"),
            ),
          ),
          h(
            "tbody",
            null,
            Object.entries(found[field]).map(([part, row]) =>
              h(
                "tr",
                null,
                h("th", { scope: "row" }, h("bdi", null, part)),
                h("td", { class: "num" }, count(row.n)),
                value(row.map, row.map_chance),
                h("td", { class: "pic" }, strip(`${part}: mAP`, row.map, null, row.map_chance, 120)),
                h("td", { class: "num" }, fixed(row.roc_auc)),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

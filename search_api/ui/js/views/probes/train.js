/** Training a probe from what was judged: which labels have enough, a name, and the job until it is done. */
import { api } from "../../core/api.js";
import { h, replace, uid } from "../../core/dom.js";
import { count, plural, speciesName } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { href, navigate } from "../../core/router.js";
import { empty } from "../../components/empty.js";
import { follow } from "../jobs/follow.js";
import { formError } from "../parts.js";
import { finished, jobLine } from "./applying.js";
import { labelName } from "./report_tables.js";

const ENOUGH = 5; // positives, below which a training says so itself: nothing could be held out

/** A name for a probe from its classes: what files and addresses take. */
export function nameFrom(labels) {
  const text = labels.map(speciesName).slice(0, 2).join(" and ").toLowerCase();
  return text
    .normalize("NFKD")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40);
}

/**
 * @param {{rows: any[], names: string[], chosen?: string[], name?: string, signal: AbortSignal}} about  rows of /v1/annotations/labels
 */
export function trainForm({ rows, names, chosen = [], name = "", signal }) {
  if (!rows.length)
    return empty({
      icon: "tag",
      title: "Nothing was judged yet",
      text: "Search for a sound, judge some of the hits with Y and N, and come back: a dozen of each is a good start.",
      action: h("a", { class: "btn btn--primary", href: "/search" }, icon("search"), "Search"),
    });
  const id = uid("train");
  const ticked = new Set(
    chosen.length
      ? chosen
      : rows
          .filter((row) => row.positive >= ENOUGH)
          .slice(0, 1)
          .map((row) => row.label),
  );
  let byHand = Boolean(name);
  const field = h("input", {
    class: "input",
    id,
    type: "text",
    required: true,
    maxlength: 64,
    value: name,
    autocomplete: "off",
    list: `${id}-names`,
    oninput: () => {
      byHand = Boolean(field.value);
      hint();
    },
  });
  const said = h("p", { class: "muted small", "aria-live": "polite" });
  const go = h("button", { class: "btn btn--primary", type: "submit" }, icon("probe"), "Train");
  const outcome = h("div", { class: "train-outcome", "aria-live": "polite" });
  const kind = h(
    "select",
    { class: "input", "aria-label": "Kind" },
    h("option", { value: "multilabel" }, "each class judged by itself"),
    h("option", { value: "multiclass" }, "classes that exclude each other"),
  );
  const by = h(
    "select",
    { class: "input", "aria-label": "Kept apart for testing" },
    h("option", { value: "recording" }, "whole recordings"),
    h("option", { value: "day" }, "whole days of a site"),
    h("option", { value: "site" }, "whole sites"),
  );

  function hint() {
    const list = rows.filter((row) => ticked.has(row.label));
    if (!byHand) field.value = nameFrom([...ticked]);
    const few = list.filter((row) => row.positive < ENOUGH);
    const again = names.includes(field.value.trim());
    replace(
      said,
      !list.length
        ? "Choose at least one label."
        : few.length
          ? `Few positives of ${few.map((row) => speciesName(row.label)).join(", ")}: it can be trained, but the test will say little.`
          : again
            ? `This makes a new version of ${field.value.trim()}. It is taken into use only if you say so.`
            : "Windows that nobody judged stand as weak negatives. Whole groups are kept apart to test it.",
    );
    go.disabled = !list.length || !field.value.trim();
  }

  async function start(event) {
    event.preventDefault();
    go.disabled = true;
    const probe = field.value.trim();
    const experiment = { kind: kind.value, split: { by: by.value } };
    try {
      const { data: job } = await api.post(
        "jobs",
        { kind: "train", probe, classes: [...ticked], experiment },
        { signal },
      );
      const made = finished(await follow(job.job_id, (now) => replace(outcome, jobLine(now)), { signal }));
      navigate(href(`/probes/${encodeURIComponent(made.name || probe)}`, { version: made.version, trained: 1 }));
    } catch (error) {
      if (error.kind === "aborted") return;
      replace(outcome, formError(error));
      go.disabled = false;
    }
  }

  hint();
  return h(
    "form",
    { class: "train", onsubmit: start },
    h(
      "fieldset",
      { class: "train-labels" },
      h("legend", { class: "field__label" }, "What it should find"),
      h(
        "div",
        { class: "train-list" },
        rows.map((row) => {
          return h(
            "label",
            { class: "train-label" },
            h("input", {
              type: "checkbox",
              checked: ticked.has(row.label),
              onchange: (event) => {
                if (event.target.checked) ticked.add(row.label);
                else ticked.delete(row.label);
                hint();
              },
            }),
            h("span", { class: "grow" }, labelName(row.label)),
            h(
              "span",
              { class: "train-counts" },
              h("span", { class: "badge badge--positive" }, `${count(row.positive)} yes`),
              h("span", { class: "badge badge--negative" }, `${count(row.negative)} no`),
              row.uncertain > 0 && h("span", { class: "badge badge--uncertain" }, `${count(row.uncertain)} unsure`),
            ),
          );
        }),
      ),
    ),
    h(
      "div",
      { class: "train-side" },
      h(
        "div",
        { class: "field" },
        h("label", { class: "field__label", for: id }, "Name of the probe"),
        field,
        h(
          "datalist",
          { id: `${id}-names` },
          names.map((other) => h("option", { value: other })),
        ),
      ),
      h(
        "details",
        null,
        h("summary", { class: "small" }, "More"),
        h(
          "div",
          { class: "train-more" },
          h("label", { class: "field" }, h("span", { class: "field__label" }, "Kind"), kind),
          h("label", { class: "field" }, h("span", { class: "field__label" }, "Kept apart for testing"), by),
        ),
      ),
      said,
      go,
      outcome,
    ),
  );
}

/** "3 labels, 67 judgements". */
export const judgedWords = (rows) =>
  `${plural(rows.length, "label")}, ${plural(
    rows.reduce((sum, row) => sum + row.positive + row.negative + row.uncertain, 0),
    "judgement",
  )}`;

/** The filter panel: what is looked through. Every change is handed on at once as changes of the address's parameters. */
import { h, uid } from "../core/dom.js";
import { monthName, speciesName } from "../core/format.js";
import { icon } from "../core/icons.js";
import { combo } from "./combo.js";
import { filterWords, noFilter } from "./filter_values.js";
import { hourRange } from "./hours.js";
import { findLabels } from "./labels.js";
import { siteChoice } from "./sites.js";

/**
 * @param {{params: URLSearchParams, onChange: (changes: Record<string, any>) => void, signal?: AbortSignal, without?: string[]}} options
 *   `without`: parts to leave out: "sites", "dates", "hours", "months", "label", "annotated"
 * @returns {{el: HTMLElement, set: (params: URLSearchParams) => void, focus: () => void, destroy: () => void, count: () => number}}
 */
export function filters({ params, onChange, signal, without = [] }) {
  let now = params;
  const has = (part) => !without.includes(part);
  const change = (changes) => onChange(changes);

  const siteList = has("sites")
    ? siteChoice({
        chosen: now.getAll("site"),
        signal,
        onToggle: (site) => toggle("site", site),
        onSites: (sites) => limitDates(sites),
      })
    : null;

  const dateInput = (name, label) => {
    const id = uid("date");
    const input = h("input", {
      class: "input",
      type: "date",
      id,
      value: now.get(name) || "",
      onchange: () => change({ [name]: input.value || null }),
    });
    return { input, el: h("div", { class: "field" }, h("label", { class: "field__label", for: id }, label), input) };
  };
  const from = dateInput("date_from", "From date");
  const to = dateInput("date_to", "To date");
  const monthButtons = Array.from({ length: 12 }, (_, i) =>
    h(
      "button",
      {
        class: "filters__month",
        type: "button",
        dataset: { month: i + 1 },
        "aria-label": monthName(i + 1),
        onclick: () => toggle("month", String(i + 1)),
      },
      monthName(i + 1),
    ),
  );
  const hours = hourRange({ value: now.get("hours"), onChange: (text) => change({ hours: text }) });
  const label = combo({
    label: "Species, predicted by the model",
    placeholder: "any",
    value: now.get("label") || "",
    find: findLabels,
    display: speciesName,
    onChoose: (value) => change({ label: value || null, ...(value ? {} : { score_min: null, rank_max: null }) }),
  });
  const scoreId = uid("score");
  const score = h("input", {
    class: "input",
    id: scoreId,
    type: "number",
    min: 0,
    max: 1,
    step: 0.05,
    placeholder: "any",
    value: now.get("score_min") || "",
    onchange: () => score.checkValidity() && change({ score_min: score.value || null }),
  });
  const best = h("input", { type: "checkbox", onchange: () => change({ rank_max: best.checked ? 1 : null }) });
  const annotated = [
    ["", "All"],
    ["true", "Annotated"],
    ["false", "Not yet"],
  ].map(([value, text]) =>
    h(
      "button",
      {
        class: "seg__item",
        type: "button",
        dataset: { value },
        onclick: () =>
          change({
            annotated: value || null,
            ...(value === "true" ? {} : { judgement: null, annotation_label: null }),
          }),
      },
      text,
    ),
  );
  const judgementId = uid("judgement");
  const judgement = h(
    "select",
    { class: "input", id: judgementId, onchange: () => change({ judgement: judgement.value || null }) },
    [
      ["", "any judgement"],
      ["positive", "positive"],
      ["negative", "negative"],
      ["uncertain", "uncertain"],
    ].map(([v, t]) => h("option", { value: v }, t)),
  );
  const judgementField = h(
    "div",
    { class: "field" },
    h("label", { class: "visually-hidden", for: judgementId }, "Judgement"),
    judgement,
  );
  const clear = h(
    "button",
    { class: "btn btn--quiet btn--small", type: "button", onclick: () => change(noFilter()) },
    "Clear all",
  );
  const el = h(
    "div",
    { class: "filters" },
    h("div", { class: "filters__head" }, h("h2", null, "Filter"), clear),
    siteList?.el,
    has("dates") && h("section", { class: "filters__part filters__dates", "aria-label": "Dates" }, from.el, to.el),
    has("months") &&
      h(
        "section",
        { class: "filters__part", "aria-label": "Months" },
        h("div", { class: "field__label" }, "Months, of any year"),
        h("div", { class: "filters__months" }, monthButtons),
      ),
    has("hours") && h("section", { class: "filters__part", "aria-label": "Hours of the day" }, hours.el),
    has("label") &&
      h(
        "section",
        { class: "filters__part", "aria-label": "Species" },
        label.el,
        h(
          "div",
          { class: "filters__score" },
          h("label", { class: "field__label", for: scoreId }, "Score from"),
          score,
          h("label", { class: "check" }, best, "best only"),
        ),
      ),
    has("annotated") &&
      h(
        "section",
        { class: "filters__part", "aria-label": "Annotated" },
        h("div", { class: "field__label" }, "Judged by people"),
        h("div", { class: "seg", role: "group", "aria-label": "Judged by people" }, annotated),
        judgementField,
      ),
  );

  function toggle(name, value) {
    const all = now.getAll(name);
    change({ [name]: all.includes(value) ? all.filter((one) => one !== value) : [...all, value] });
  }

  function draw() {
    siteList?.set(now.getAll("site"));
    from.input.value = now.get("date_from") || "";
    to.input.value = now.get("date_to") || "";
    const months = now.getAll("month");
    for (const button of monthButtons)
      button.setAttribute("aria-pressed", String(months.includes(button.dataset.month)));
    hours.set(now.get("hours"));
    label.set(now.get("label"));
    score.value = now.get("score_min") || "";
    best.checked = now.get("rank_max") === "1";
    for (const button of annotated)
      button.setAttribute("aria-pressed", String(button.dataset.value === (now.get("annotated") || "")));
    judgementField.hidden = now.get("annotated") !== "true";
    judgement.value = now.get("judgement") || "";
    clear.hidden = !filterWords(now).length;
  }

  function limitDates(sites) {
    for (const input of [from.input, to.input]) {
      input.min =
        sites
          .map((s) => s.first?.slice(0, 10))
          .filter(Boolean)
          .sort()[0] || "";
      input.max =
        sites
          .map((s) => s.last?.slice(0, 10))
          .filter(Boolean)
          .sort()
          .at(-1) || "";
    }
  }
  draw();

  return {
    el,
    set(next) {
      now = next;
      draw();
    },
    focus: () => el.querySelector("input, button")?.focus(),
    count: () => filterWords(now).length,
    destroy: () => label.destroy(),
  };
}

/** The filter as chips that can be taken away one by one. @param {{params: URLSearchParams, onChange: (changes: any) => void}} options */
export function filterChips({ params, onChange }) {
  return filterWords(params).map(({ text, without }) =>
    h(
      "button",
      {
        class: "chip chip--on",
        type: "button",
        "aria-label": `Remove the filter ${text}`,
        onclick: () => onChange(without),
      },
      h("span", { class: "clip" }, text),
      icon("close", { size: 12 }),
    ),
  );
}

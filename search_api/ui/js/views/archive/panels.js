/** The two heat maps: when was recorded, and when a species was heard. Both lie on the same calendar. */
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { count, day, duration, fixed, species as names } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { setParams } from "../../core/router.js";
import { combo } from "../../components/combo.js";
import { empty } from "../../components/empty.js";
import { findLabels } from "../../components/labels.js";
import { block, segmented, zone } from "../parts.js";
import { hoursText, inHours } from "./calendar.js";
import { heatmap } from "./heatmap.js";

const clock = (hour) => `${String(hour).padStart(2, "0")}:00–${String(hour + 1).padStart(2, "0")}:00`;

/** Put a chosen range of a heat map into the address; null clears it. */
export function choose(range) {
  if (!range) return setParams({ date_from: null, date_to: null, hours: null });
  return setParams({
    date_from: range.all_dates ? null : range.date_from,
    date_to: range.all_dates ? null : range.date_to,
    hours: hoursText(range.hour_from, range.hour_to),
  });
}

const chosenIn = (state) => ({
  narrowed: Boolean(state.dateFrom || state.dateTo || state.hours),
  chosen: (date, hour) =>
    (!state.dateFrom || date >= state.dateFrom) &&
    (!state.dateTo || date <= state.dateTo) &&
    inHours(hour, state.hours),
});

/** The sums of effort cells by date and hour. @returns {Map<string, number>} */
export function sumsOf(cells) {
  const sums = new Map();
  for (const { date, hour, audio_s: s } of cells) {
    if (date === null || hour === null) continue;
    const key = `${date} ${hour}`;
    sums.set(key, (sums.get(key) || 0) + s);
  }
  return sums;
}

/** @param {{state: any, signal: AbortSignal, onCells: (effort: any) => void}} about */
export function effortPanel({ state, signal, onCells }) {
  let map = null;
  let shown = state;
  const part = zone({
    height: "262px",
    what: "Loading when was recorded",
    signal,
    load: (stop) => api.get("effort", { site: shown.sites }, { signal: stop }),
    render: ({ data }) => {
      map?.destroy();
      onCells(data);
      if (!data.cells.length)
        return empty({
          icon: "calendar",
          title: "No recording has a known time",
          text: "Add times with a deployment table, or embed recordings whose names or headers tell when they began.",
        });
      const sums = sumsOf(data.cells);
      map = heatmap({
        label: "Recorded sound by date and hour",
        dates: data.dates ?? data.cells.map((cell) => cell.date),
        ramp: "effort",
        max: Math.max(...sums.values()),
        value: (date, hour) => sums.get(`${date} ${hour}`) ?? null,
        describe: (date, hour, value) =>
          `${day(date)}, ${clock(hour)} · ${value === null ? "not recorded" : `${duration(value)} of sound`}`,
        legend: (max) => `up to ${duration(max)} in an hour${max > 3600 ? ", of several recorders" : ""}`,
        onSelect: choose,
        ...chosenIn(shown),
      });
      return map.element;
    },
  });
  const element = block(
    "When was recorded",
    { note: "local dates and hours; drag over a range to filter" },
    part.element,
  );
  return {
    element,
    reload: part.reload,
    update(next) {
      const again = next.sites.join("\n") !== shown.sites.join("\n");
      shown = next;
      if (again) part.reload();
      else map?.update(chosenIn(shown));
    },
    destroy: () => map?.destroy(),
  };
}

/** @param {{state: any, signal: AbortSignal}} about */
export function activityPanel({ state, signal }) {
  let maps = [];
  let picker = null;
  let shown = state;
  const threshold = h("input", {
    type: "range",
    min: 0.05,
    max: 0.99,
    step: 0.01,
    value: state.scoreMin,
    "aria-label": "Least score",
  });
  const said = h("output", { class: "score-said" }, fixed(state.scoreMin, 2));
  threshold.addEventListener("input", () => {
    said.textContent = fixed(Number(threshold.value), 2);
  });
  threshold.addEventListener("change", () =>
    setParams(
      { score_min: Number(threshold.value) === 0.5 ? null : fixed(Number(threshold.value), 2) },
      { replace: true },
    ),
  );
  const measure = segmented({
    label: "What is shown",
    options: [
      ["rate", "per hour"],
      ["count", "windows"],
    ],
    value: state.measure,
    onChange: (value) => setParams({ measure: value === "rate" ? null : value }, { replace: true }),
  });
  const chips = h("div", { class: "row row--wrap" });
  const part = zone({
    height: "262px",
    what: "Loading when it was heard",
    signal,
    load: async (stop) =>
      shown.species.length
        ? api.get(
            "activity",
            { label: shown.species, site: shown.sites, score_min: shown.scoreMin, by: "cell" },
            { signal: stop },
          )
        : null,
    render: (answer) => {
      for (const map of maps) map.destroy();
      maps = [];
      if (!answer)
        return h(
          "div",
          { class: "pick-hint" },
          empty({
            icon: "wave",
            title: "Choose a species",
            text: "Its calls by date and hour appear here, beside how much was recorded. The list of species below offers them too.",
          }),
        );
      maps = answer.data.panels.map((panel, at) => one(panel, answer.data.totals?.[at]));
      return [
        maps.map((map) => map.wrapped),
        (answer.meta.notes?.length ? answer.meta.notes : answer.data.notes || []).map((note) =>
          h("p", { class: "muted small" }, note),
        ),
      ];
    },
  });

  function one(panel, totals) {
    const at = new Map(panel.dates.map((date, i) => [date, i]));
    const cell = (field) => (date, hour) => panel[field][at.get(date)]?.[hour] ?? null;
    const [found, audio] = [cell("found"), cell("audio_s")];
    const rate = (date, hour) => {
      const s = audio(date, hour);
      return s ? ((found(date, hour) ?? 0) * 3600) / s : null;
    };
    const value = (date, hour) =>
      !audio(date, hour) ? null : shown.measure === "count" ? (found(date, hour) ?? 0) : rate(date, hour);
    const most = () =>
      Math.max(1e-9, ...panel.dates.flatMap((date) => Array.from({ length: 24 }, (_, hour) => value(date, hour) ?? 0)));
    const { common, scientific } = names(panel.label);
    const map = heatmap({
      label: `${common} by date and hour`,
      dates: panel.dates,
      ramp: "activity",
      max: most(),
      value,
      describe: (date, hour, x) =>
        `${day(date)}, ${clock(hour)} · ${x === null ? "not recorded" : `${count(found(date, hour) ?? 0)} windows in ${duration(audio(date, hour))}${rate(date, hour) ? `, ${fixed(rate(date, hour), 1)} an hour` : ""}`}`,
      legend: (max) =>
        shown.measure === "count"
          ? `up to ${count(max)} windows in an hour's cell`
          : `up to ${max >= 10 ? count(max) : fixed(max, 1)} windows per recorded hour`,
      onSelect: choose,
      ...chosenIn(shown),
    });
    const sums =
      totals &&
      h(
        "span",
        { class: "muted small" },
        `${count(totals.detections ?? totals.found)} windows with a score of ${fixed(shown.scoreMin, 2)} or more${Number.isFinite(totals.detections_per_h) ? `, ${fixed(totals.detections_per_h, 2)} per recorded hour` : ""}`,
      );
    map.wrapped = h(
      "div",
      { class: "activity-one" },
      h(
        "div",
        { class: "activity-head" },
        h("h3", null, common, scientific && h("i", { class: "scientific-side" }, scientific)),
        sums,
      ),
      map.element,
    );
    map.again = () => map.update({ max: most(), ...chosenIn(shown) });
    return map;
  }

  function drawChips() {
    replace(
      chips,
      shown.species.map((label) =>
        h(
          "button",
          {
            class: "chip chip--on",
            type: "button",
            "aria-label": `Leave out ${names(label).common}`,
            onclick: () => setParams({ species: shown.species.filter((other) => other !== label) }),
          },
          names(label).common,
          icon("close", { size: 13 }),
        ),
      ),
      shown.species.length < 3 && field(),
    );
  }

  function field() {
    picker?.destroy();
    const words = shown.species.length ? "Add a species" : "Choose a species";
    picker = combo({
      label: words,
      placeholder: words,
      hideLabel: true,
      find: findLabels,
      onChoose: (label) => label && setParams({ species: [...new Set([...shown.species, label])] }),
    });
    picker.el.classList.add("species-picker");
    return picker.el;
  }
  drawChips();
  const tools = h(
    "div",
    { class: "activity-tools" },
    h("label", { class: "row small nowrap" }, h("span", { class: "muted" }, "score ≥"), threshold, said),
    measure,
  );
  const element = block(
    "When was it heard",
    { tools, class: "activity-panel" },
    h("div", { class: "activity-chips" }, chips),
    part.element,
  );
  return {
    element,
    reload: part.reload,
    update(next) {
      const changed = (a, b) => a.join("\n") !== b.join("\n");
      const newSpecies = changed(next.species, shown.species);
      const again = newSpecies || changed(next.sites, shown.sites) || next.scoreMin !== shown.scoreMin;
      shown = next;
      threshold.value = String(next.scoreMin);
      said.textContent = fixed(next.scoreMin, 2);
      measure.set(next.measure);
      if (newSpecies) drawChips();
      if (again) part.reload();
      else for (const map of maps) map.again();
    },
    destroy() {
      picker?.destroy();
      for (const map of maps) map.destroy();
    },
  };
}

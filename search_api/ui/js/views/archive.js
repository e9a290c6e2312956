/** The archive: what was recorded, when, where, and which species were heard in it. */
import { api } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { day, duration, fixed, plural } from "../core/format.js";
import { icon } from "../core/icons.js";
import { keys } from "../core/keys.js";
import { href, setParams } from "../core/router.js";
import { info } from "../core/shell.js";
import { empty } from "../components/empty.js";
import { silentDays } from "./archive/calendar.js";
import { activityPanel, effortPanel } from "./archive/panels.js";
import { recordingsList } from "./archive/recordings.js";
import { gapsView, sitesView } from "./archive/sites.js";
import { speciesView } from "./archive/species.js";
import { datesText, filterOf, isNarrowed, stateOf } from "./archive/state.js";
import { block, zone } from "./parts.js";

/** @param {HTMLElement} root @param {any} ctx */
export function mount(root, ctx) {
  const { signal } = ctx;
  let state = stateOf(ctx.params);
  let lists = key(state);
  let sites = null;
  let speciesPart = null;
  let speciesRows = null;

  const totals = h("p", { class: "totals" }, "…");
  const bar = h("div", { class: "selection" });
  const gaps = h("div", null, h("p", { class: "muted" }, "…"));
  const effort = effortPanel({ state, signal, onCells: (data) => replace(gaps, gapsView(silentDays(data.cells))) });
  const activity = activityPanel({ state, signal });
  const sitesZone = zone({
    height: "240px",
    what: "Loading sites",
    signal,
    load: (stop) => api.get("sites", {}, { signal: stop }),
    render: ({ data }) => {
      sites = data;
      return sitesView(sites, state);
    },
  });
  const speciesZone = zone({
    height: "420px",
    what: "Loading species",
    signal,
    load: (stop) => api.get("species", { ...filterOf(state), score_min: state.scoreMin }, { signal: stop }),
    render: ({ data }) => {
      speciesRows = data;
      return drawSpecies();
    },
  });
  const recordings = recordingsList({ filter: filterOf(state), signal });

  function drawSpecies() {
    speciesPart?.destroy();
    speciesPart = speciesView(speciesRows, state);
    return speciesPart.element;
  }

  function drawBar() {
    const chip = (text, changes) =>
      h(
        "button",
        {
          class: "chip chip--on",
          type: "button",
          "aria-label": `Leave out: ${text}`,
          onclick: () => setParams(changes),
        },
        text,
        icon("close", { size: 13 }),
      );
    const dates = datesText(state.dateFrom, state.dateTo);
    const date = (label, name, value) =>
      h(
        "label",
        { class: "row small" },
        h("span", { class: "muted" }, label),
        h("input", {
          class: "input date",
          type: "date",
          value,
          "aria-label": `${label} date`,
          onchange: (event) => setParams({ [name]: event.target.value || null }),
        }),
      );
    replace(
      bar,
      h(
        "div",
        { class: "row row--wrap" },
        h("span", { class: "selection-title" }, isNarrowed(state) ? "Selection" : "Whole archive"),
        state.sites.map((site) => chip(site, { site: state.sites.filter((other) => other !== site) })),
        dates && chip(dates, { date_from: null, date_to: null }),
        state.hours && chip(state.hours.replace("-", " – "), { hours: null }),
        isNarrowed(state) &&
          h("button", { class: "btn btn--small btn--quiet", type: "button", onclick: clear }, "Clear all"),
      ),
      h(
        "div",
        { class: "row row--wrap" },
        date("from", "date_from", state.dateFrom),
        date("to", "date_to", state.dateTo),
        h(
          "a",
          { class: "btn btn--primary", href: href("/search", filterOf(state)) },
          icon("search"),
          isNarrowed(state) ? "Search in this selection" : "Search the archive",
        ),
      ),
    );
  }

  const clear = () => setParams({ site: [], date_from: null, date_to: null, hours: null });

  replace(
    root,
    h("div", { class: "view__head" }, h("div", null, h("h1", null, "Archive"), totals)),
    h(
      "div",
      { class: "archive" },
      bar,
      effort.element,
      activity.element,
      h(
        "div",
        { class: "archive-pair" },
        block("Sites", { flush: true }, sitesZone.element),
        block("Days without sound", { note: "between a site's first and last day" }, gaps),
      ),
      block(
        "Species",
        { note: h("span", { class: "species-note" }), flush: true, class: "species-block" },
        speciesZone.element,
      ),
      block("Recordings", { flush: true }, recordings.element),
    ),
  );

  const note = () => {
    root.querySelector(".species-note").textContent =
      `the model's own classes, score ${fixed(state.scoreMin, 2)} or more${isNarrowed(state) ? ", in the selection" : ""}`;
  };
  drawBar();
  note();
  effort.reload();
  activity.reload();
  sitesZone.reload();
  speciesZone.reload();
  recordings.reload(filterOf(state));
  info().then(
    ({ store }) => {
      if (signal.aborted) return;
      if (!store.recordings)
        replace(
          root.querySelector(".archive"),
          empty({
            icon: "archive",
            title: "This archive is empty",
            text: "Embed a folder of recordings; they appear here as they are done.",
            action: h("a", { class: "btn btn--primary", href: "/jobs?new=embed" }, "Embed recordings"),
          }),
        );
      replace(
        totals,
        [
          plural(store.recordings, "recording"),
          duration(store.audio_s),
          plural(typeof store.sites === "number" ? store.sites : (store.sites?.length ?? 0), "site"),
          plural(store.windows, "window"),
          store.first && `${day(store.first)} – ${day(store.last)}`,
          [store.model?.name, store.model?.version].filter(Boolean).join(" "),
        ]
          .filter(Boolean)
          .map((text, i) => [
            i ? h("span", { class: "dot-between", "aria-hidden": "true" }, "·") : null,
            h("span", { class: "nowrap" }, text),
          ]),
      );
    },
    () => {
      totals.textContent = "";
    },
  );
  const offKeys = keys.register("Archive", [
    { keys: ["c"], label: "Clear the selection", when: () => isNarrowed(state), run: clear },
  ]);

  return {
    update(next) {
      state = stateOf(next.params);
      drawBar();
      note();
      effort.update(state);
      activity.update(state);
      if (sites) replace(sitesZone.element, sitesView(sites, state));
      if (key(state) !== lists) {
        lists = key(state);
        speciesZone.reload();
        recordings.reload(filterOf(state));
      } else if (speciesRows) replace(speciesZone.element, drawSpecies());
    },
    unmount() {
      offKeys();
      effort.destroy();
      activity.destroy();
      speciesPart?.destroy();
      recordings.destroy();
    },
  };
}

/** What the lists depend on. */
const key = (state) => JSON.stringify([filterOf(state), state.scoreMin]);

/** What is known of the chosen window or span, and the judging of it. */
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { fixed, localTime, offset, species, speciesName } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { prefs } from "../../core/store.js";
import { judgeButtons } from "../../components/card.js";
import { combo } from "../../components/combo.js";
import { skeleton } from "../../components/empty.js";
import { findLabels } from "../../components/labels.js";
import { similarHref } from "../../components/listen.js";

/** A score as a bar beside its number. */
export const scoreBar = (score) =>
  h(
    "span",
    { class: "score-bar", "aria-hidden": "true" },
    h("i", { style: { transform: `scaleX(${Math.max(0, Math.min(1, score))})` } }),
  );

/**
 * @param {{signal: AbortSignal, onJudge: (judgement: string) => void, onPlay: () => void}} options
 */
export function selectionPanel({ signal, onJudge, onPlay }) {
  let label = prefs.get("label") || "";
  let chosenByHand = Boolean(label);
  let stop = new AbortController();
  const title = h("h2", { class: "panel-title" }, "Choose a window");
  const when = h("p", { class: "muted small" }, "Click in the spectrogram, or use the arrow keys.");
  const details = h("div", { class: "panel-details" });
  const buttons = judgeButtons({ onJudge, words: true });
  const field = combo({
    label: "Species or sound",
    value: label,
    placeholder: "What is judged",
    find: findLabels,
    onChoose: (value) => setLabel(value, true),
  });
  const similar = h("a", { class: "btn", hidden: true }, icon("similar"), "Find more like this");
  const play = h("button", { class: "btn", type: "button", onclick: onPlay }, icon("play"), "Play");
  const actions = h("div", { class: "row row--wrap panel-actions" }, play, similar);
  const said = h("div", { class: "panel-said row row--wrap" });
  const element = h(
    "section",
    { class: "panel selection-panel", "aria-label": "Selection" },
    h(
      "div",
      { class: "panel__body" },
      title,
      when,
      actions,
      h("div", { class: "panel-judge" }, field.el, buttons.el),
      said,
      details,
    ),
  );

  function setLabel(next, byHand) {
    label = next;
    chosenByHand = byHand && Boolean(next);
    field.set(next);
    if (byHand) prefs.set("label", next);
    for (const row of details.querySelectorAll("[data-label]"))
      row.setAttribute("aria-pressed", String(row.dataset.label === next));
  }

  function annotations(rows) {
    replace(
      said,
      rows.map((a) =>
        h(
          "span",
          { class: `badge badge--${a.judgement}` },
          `${speciesName(a.label)}: ${{ positive: "yes", negative: "no", uncertain: "unsure" }[a.judgement]}${a.annotator ? ` · ${a.annotator}` : ""}`,
        ),
      ),
    );
    const own = rows.findLast((a) => a.label === label);
    buttons.set(own?.judgement ?? null);
  }

  function rows(head, list) {
    if (!list.length) return null;
    return h(
      "div",
      { class: "panel-list" },
      h("h3", null, head),
      h(
        "ul",
        null,
        list.map((one) => {
          const { common, scientific } = species(one.label);
          return h(
            "li",
            null,
            h(
              "button",
              {
                type: "button",
                class: "panel-row",
                dataset: { label: one.label },
                "aria-pressed": one.label === label,
                title: "Judge this one",
                onclick: () => setLabel(one.label, true),
              },
              h(
                "span",
                { class: "grow clip" },
                one.prefix && h("span", { class: "muted" }, `${one.prefix} `),
                common,
                scientific && h("i", { class: "scientific-side" }, scientific),
              ),
              scoreBar(one.score),
              h("b", null, fixed(one.score, 2)),
            ),
          );
        }),
      ),
    );
  }

  return {
    element,
    get label() {
      return label;
    },
    focusLabel() {
      field.input.focus();
      field.input.select();
    },
    annotations,
    setPlaying(on) {
      replace(play, icon(on ? "stop" : "play"), on ? "Stop" : "Play");
    },
    /** @param {any} window  of the timeline, with local_start if known @param {any[]} judged */
    async showWindow(window, judged) {
      stop.abort();
      stop = new AbortController();
      const mine = stop;
      title.textContent = `${offset(window.start_s)} – ${offset(window.end_s)}`;
      when.textContent = window.local_start ? localTime(window.local_start) : "one window of the model";
      similar.hidden = false;
      similar.href = similarHref(window);
      if (!chosenByHand && window.top[0]) setLabel(window.top[0].label, false);
      annotations(judged);
      replace(details, rows("The model hears", window.top) || skeleton({ height: "140px" }));
      try {
        const { data } = await api.get(
          `windows/${encodeURIComponent(window.window_id)}`,
          {},
          { signal: AbortSignal.any([signal, mine.signal]) },
        );
        if (mine !== stop) return;
        when.textContent = data.local_start ? localTime(data.local_start) : "time unknown";
        const scores = data.scores.map((s) => ({ ...s, prefix: s.score >= s.threshold ? "✓" : "" }));
        replace(
          details,
          rows("The model hears", data.predictions.filter((one) => one.rank <= 3 || one.score >= 0.01).slice(0, 6)) ||
            h("p", { class: "muted small" }, "The model's own classes found nothing here."),
          rows("Probes say", scores),
        );
      } catch (error) {
        if (mine === stop && error.kind !== "aborted") replace(details, h("p", { class: "form-error" }, error.message));
      }
    },
    /** A span that was chosen by dragging. */
    showSpan({ from, to }, judged) {
      stop.abort();
      title.textContent = `${offset(from, 2)} – ${offset(to, 2)}`;
      when.textContent = `a span of ${fixed(to - from, 2)} s; Escape gives it up`;
      similar.hidden = true;
      annotations(judged);
      replace(details);
    },
    destroy() {
      stop.abort();
      field.destroy();
    },
  };
}

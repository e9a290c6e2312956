/** "What is singing here?" The model's classes and the probes, summed up for the chosen sound. */
import { errorState } from "../../components/empty.js";
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { count, fixed, offset, species } from "../../core/format.js";
import { icon } from "../../core/icons.js";

const SHOWN = 5;

/**
 * @param {{onFilter: (label: string) => void, onLabel: (label: string) => void, onSuggest: (label: string|null) => void}} options
 */
export function identifyPanel({ onFilter, onLabel, onSuggest }) {
  const body = h("div", { class: "identify__body" });
  const el = h(
    "section",
    { class: "identify panel", "aria-label": "What is singing here?", hidden: true },
    h("div", { class: "panel__head" }, h("h2", null, "What is singing here?")),
    body,
  );
  let asked = null;
  let stop = new AbortController();

  function draw(data) {
    const rows = data.summary.slice(0, SHOWN);
    const best = rows.find((row) => row.source === "model") || rows[0];
    onSuggest(best && best.best_score >= 0.1 ? best.label : null);
    if (!rows.length) {
      replace(
        body,
        h(
          "p",
          { class: "muted small identify__none" },
          "The model and the probes recognise nothing in it. Searching by likeness works all the same.",
        ),
      );
      return;
    }
    replace(
      body,
      h(
        "ul",
        { class: "identify__list" },
        rows.map((row) => {
          const names = species(row.label);
          return h(
            "li",
            { class: "identify__row" },
            h(
              "div",
              { class: "identify__name" },
              h("span", { class: "clip", title: row.label }, names.common),
              row.source === "model"
                ? null
                : h("span", { class: "badge badge--accent", title: "a probe of this archive" }, row.source),
            ),
            h(
              "div",
              { class: "identify__score" },
              h(
                "span",
                { class: "identify__bar", "aria-hidden": "true" },
                h("i", { style: { "--share": row.best_score } }),
              ),
              h("span", { class: "tabular" }, fixed(row.best_score, 2)),
            ),
            h(
              "div",
              { class: "identify__more muted tiny" },
              h("em", null, names.scientific),
              names.scientific && row.windows ? " · " : null,
              row.windows ? `${count(row.windows)}×, best at ${offset(row.best_start_s, 0)}` : null,
            ),
            h(
              "div",
              { class: "identify__do" },
              h(
                "button",
                {
                  class: "iconbtn iconbtn--small",
                  type: "button",
                  title: "Judge hits as this",
                  "aria-label": `Judge hits as ${names.common}`,
                  onclick: () => onLabel(row.label),
                },
                icon("tag", { size: 15 }),
              ),
              row.source === "model"
                ? h(
                    "button",
                    {
                      class: "iconbtn iconbtn--small",
                      type: "button",
                      title: "Search only where the model heard this",
                      "aria-label": `Search only where the model heard ${names.common}`,
                      onclick: () => onFilter(row.label),
                    },
                    icon("filter", { size: 15 }),
                  )
                : null,
            ),
          );
        }),
      ),
    );
  }

  return {
    el,
    /** @param {any} sound  as of `soundOf`; null hides the panel */
    async show(sound) {
      const key = JSON.stringify(sound);
      if (key === asked) return;
      asked = key;
      stop.abort();
      stop = new AbortController();
      const { signal } = stop;
      el.hidden = !sound;
      if (!sound) {
        onSuggest(null);
        return;
      }
      if (body.children.length) body.classList.add("is-stale");
      else
        replace(
          body,
          h(
            "div",
            { class: "identify__wait" },
            Array.from({ length: 5 }, () => h("div", { class: "skeleton" })),
          ),
        );
      try {
        const { data } = await api.post("identify", sound, {
          signal,
          repeat: true,
          params: { top_k: 5, probes: "all" },
        });
        draw(data);
      } catch (error) {
        if (error.kind === "aborted") return;
        asked = null;
        onSuggest(null);
        replace(
          body,
          errorState(error, () => this.show(sound)),
        );
      }
      body.classList.remove("is-stale");
    },
    destroy: () => stop.abort(),
  };
}

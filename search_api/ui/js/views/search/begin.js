/** Before anything is searched for: sounds of the archive to begin with. */
import { card } from "../../components/card.js";
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { plural, speciesName } from "../../core/format.js";

const SHOWN = 8;

/**
 * The clearest window of the commonest species; nothing is shown where the archive has none or cannot tell.
 * @param {{onSimilar: (hit: any) => void, signal: AbortSignal}} options
 */
export function beginnings({ onSimilar, signal }) {
  const ghosts = Array.from({ length: 4 }, () => h("div", { class: "skeleton begin__ghost", "aria-hidden": "true" }));
  const grid = h("div", { class: "grid", dataset: { density: "3" } }, ghosts);
  const el = h(
    "section",
    { class: "begin", hidden: true, "aria-label": "Begin with a sound of the archive" },
    h("h2", null, "Or begin with a sound of the archive"),
    grid,
  );
  let cards = [];
  let asked = false;
  let wanted = false;
  return {
    el,
    async show(on) {
      wanted = on;
      el.hidden = !on || (asked && !cards.length);
      if (!on || asked) return;
      asked = true;
      try {
        const { data } = await api.get("species", { limit: SHOWN, score_min: 0.5 }, { signal });
        const rows = data.filter((row) => row.best?.[0]?.window_id).slice(0, SHOWN);
        cards = rows.map((row) =>
          card(
            { annotations: [], ...row.best[0], score: undefined, rank: undefined },
            {
              onSimilar,
              extra: h("strong", { class: "clip", title: row.label }, row.common || speciesName(row.label)),
              foot: h("span", { class: "muted tiny begin__count" }, plural(row.windows, "window")),
            },
          ),
        );
        replace(
          grid,
          cards.map((one) => one.el),
        );
      } catch {
        cards = []; // an offer only: the page works without it
      }
      el.hidden = !cards.length || !wanted;
    },
    destroy() {
      for (const one of cards) one.destroy();
    },
  };
}

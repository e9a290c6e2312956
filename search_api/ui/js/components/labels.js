/** Suggestions of species and labels, for combo fields. */
import { api } from "../core/api.js";
import { h } from "../core/dom.js";
import { count, species } from "../core/format.js";

/**
 * @param {string} q @param {AbortSignal} signal @returns {Promise<{value: string, text: any, aside: any}[]>}
 */
export async function findLabels(q, signal) {
  const { data } = await api.get("labels", { q, limit: 20 }, { signal });
  return data.map((row) => {
    const names = row.scientific || row.common ? row : { ...row, ...species(row.label) };
    return {
      value: row.label,
      text: [
        names.common || row.label,
        " ",
        names.scientific && names.scientific !== names.common ? h("em", null, names.scientific) : null,
      ],
      aside:
        row.source === "model"
          ? row.windows
            ? h("span", { class: "badge" }, count(row.windows))
            : null
          : h("span", { class: "badge badge--accent" }, row.source),
    };
  });
}

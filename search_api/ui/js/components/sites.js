/** Sites to choose from, on a map and in a list. */
import { api } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { compact } from "../core/format.js";
import { siteMap } from "./sitemap.js";

const SHOWN = 8;

/**
 * @param {{chosen: string[], onToggle: (site: string) => void, onSites?: (sites: any[]) => void, signal?: AbortSignal}} options
 * @returns {{el: HTMLElement, set: (chosen: string[]) => void}}
 */
export function siteChoice({ chosen, onToggle, onSites, signal }) {
  const box = h("div", { class: "filters__sites" }, h("div", { class: "skeleton filters__sites-wait" }));
  const el = h(
    "section",
    { class: "filters__part", "aria-label": "Sites" },
    h("div", { class: "field__label" }, "Sites"),
    box,
  );
  let sites = null;
  let map = null;
  let all = false;

  function row(site) {
    const input = h("input", {
      type: "checkbox",
      checked: chosen.includes(site.site),
      dataset: { site: site.site },
      onchange: () => onToggle(site.site),
    });
    return h(
      "label",
      { class: "check filters__site" },
      input,
      h("span", { class: "grow clip", title: site.site }, site.site),
      h("span", { class: "muted tiny" }, compact(site.windows)),
    );
  }

  function draw() {
    if (!sites) return;
    map?.set(chosen);
    // A site of the address that the archive does not have is shown too, so that it can be taken away.
    const unknown = chosen.filter((name) => !sites.some((s) => s.site === name)).map((site) => ({ site, windows: 0 }));
    const rows = [...unknown, ...sites];
    const shown = all ? rows : rows.filter((s, i) => i < SHOWN || chosen.includes(s.site));
    const focused = document.activeElement?.dataset?.site;
    const more = h(
      "button",
      {
        class: "btn btn--quiet btn--small",
        type: "button",
        onclick: () => {
          all = !all;
          draw();
        },
      },
      all ? "Fewer" : `All ${rows.length} sites`,
    );
    replace(box, map?.el, h("div", { class: "filters__list" }, shown.map(row)), rows.length > SHOWN && more);
    if (focused) box.querySelector(`input[data-site="${CSS.escape(focused)}"]`)?.focus();
  }

  async function load() {
    try {
      sites = (await api.get("sites", {}, { signal })).data;
      map = siteMap({ sites, chosen, onToggle });
      onSites?.(sites);
      draw();
    } catch (error) {
      if (error.kind !== "aborted")
        replace(box, h("p", { class: "muted small" }, "The sites could not be read: ", error.message));
    }
  }
  load();

  return {
    el,
    set(next) {
      chosen = next;
      draw();
    },
  };
}

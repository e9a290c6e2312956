/** The sites: a list with how much was recorded, and a small map without tiles. */
import { h, svg } from "../../core/dom.js";
import { count, day, duration, plural } from "../../core/format.js";
import { setParams } from "../../core/router.js";
import { empty } from "../../components/empty.js";
import { sorted, sortHead } from "../parts.js";
import { datesText } from "./state.js";

const WIDTH = 320;
const HEIGHT = 220;
const EDGE = 22;

/** Positions of sites on the map: degrees of longitude are as wide as they are at that latitude. */
export function positions(sites, width = WIDTH, height = HEIGHT, edge = EDGE) {
  const placed = sites.filter((site) => Number.isFinite(site.latitude) && Number.isFinite(site.longitude));
  if (!placed.length) return { placed: [], metresPerPixel: 0 };
  const middle = placed.reduce((sum, site) => sum + site.latitude, 0) / placed.length;
  const narrow = Math.cos((middle * Math.PI) / 180);
  const xs = placed.map((site) => site.longitude * narrow);
  const ys = placed.map((site) => site.latitude);
  const span = (list) => Math.max(...list) - Math.min(...list);
  const scale = Math.min((width - 2 * edge) / Math.max(span(xs), 1e-4), (height - 2 * edge) / Math.max(span(ys), 1e-4));
  const centre = (list) => (Math.max(...list) + Math.min(...list)) / 2;
  const [cx, cy] = [centre(xs), centre(ys)];
  return {
    placed: placed.map((site, i) => ({
      site,
      x: width / 2 + (xs[i] - cx) * scale,
      y: height / 2 - (ys[i] - cy) * scale,
    })),
    metresPerPixel: 111320 / scale,
  };
}

/** A round length for the scale bar, and its pixels. @returns {{metres: number, pixels: number}} */
export function scaleBar(metresPerPixel, most = 90) {
  const rough = metresPerPixel * most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const metres = power * [5, 2, 1].find((m) => m * power <= rough);
  return { metres, pixels: metres / metresPerPixel };
}

const toggled = (list, site, alone) =>
  list.includes(site) ? list.filter((other) => other !== site) : alone ? [site] : [...list, site];

function siteMap(sites, chosen) {
  const { placed, metresPerPixel } = positions(sites);
  if (placed.length < 2) return null;
  const most = Math.max(...placed.map(({ site }) => site.audio_s || 0), 1);
  const bar = scaleBar(metresPerPixel);
  return h(
    "figure",
    { class: "site-map" },
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "Map of the sites, north is up" },
      svg(
        "g",
        { class: "scale-bar" },
        svg("path", { d: `M12 ${HEIGHT - 16}v5h${bar.pixels}v-5` }),
        svg("text", { x: 16, y: HEIGHT - 18 }, bar.metres >= 1000 ? `${bar.metres / 1000} km` : `${bar.metres} m`),
      ),
      svg("text", { x: WIDTH - 14, y: 20, class: "north", "text-anchor": "middle" }, "N"),
      svg("path", { d: `M${WIDTH - 14} 24l4 10-4-3-4 3z`, class: "north" }),
      placed
        .toSorted((a, b) => b.y - a.y)
        .map(({ site, x, y }) => {
          const on = chosen.includes(site.site);
          const go = () => setParams({ site: toggled(chosen, site.site, true) });
          const left = x > WIDTH - 110;
          return svg(
            "g",
            {
              class: ["site-dot", on && "is-on", chosen.length && !on && "is-off"],
              tabindex: "0",
              role: "button",
              "aria-pressed": on,
              "aria-label": `${site.site}, ${duration(site.audio_s)}`,
              onclick: go,
              onkeydown: (event) => {
                if (event.key === "Enter" || event.key === " ") {
                  event.preventDefault();
                  go();
                }
              },
            },
            svg("circle", { cx: x, cy: y, r: 4 + 7 * Math.sqrt((site.audio_s || 0) / most) }),
            svg(
              "text",
              { x: left ? x - 14 : x + 14, y: y + 4, "text-anchor": left ? "end" : "start" },
              site.site.length > 16 ? `${site.site.slice(0, 15)}…` : site.site,
            ),
          );
        }),
    ),
  );
}

/** @param {any[]} sites @param {any} state */
export function sitesView(sites, state) {
  if (!sites.length)
    return empty({
      icon: "pin",
      title: "No sites yet",
      text: "Embed a folder of recordings: the folders below it become the sites.",
    });
  const head = (text, key, numeric) =>
    sortHead({
      text,
      key,
      numeric,
      sort: state.siteSort,
      onSort: (sort) => setParams({ site_sort: sort === "-site" ? null : sort }, { replace: true }),
    });
  const rows = sorted(sites, state.siteSort);
  return h(
    "div",
    { class: "sites" },
    siteMap(sites, state.sites),
    h(
      "div",
      { class: "tablewrap" },
      h(
        "table",
        { class: "table" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            head("Site", "site"),
            head("Recordings", "recordings", true),
            head("Sound", "audio_s", true),
            head("Days", "days", true),
            head("From – to", "first"),
          ),
        ),
        h(
          "tbody",
          null,
          rows.map((site) => {
            const on = state.sites.includes(site.site);
            return h(
              "tr",
              { class: on ? "is-on" : null },
              h(
                "td",
                null,
                h(
                  "label",
                  { class: "check" },
                  h("input", {
                    type: "checkbox",
                    checked: on,
                    "aria-label": `Only ${site.site}`,
                    onchange: () => setParams({ site: toggled(state.sites, site.site, false) }),
                  }),
                  h("bdi", null, site.site),
                ),
              ),
              h("td", { class: "num" }, count(site.recordings)),
              h("td", { class: "num nowrap" }, duration(site.audio_s)),
              h("td", { class: "num" }, count(site.days)),
              h(
                "td",
                { class: "nowrap" },
                datesText(site.first?.slice(0, 10), site.last?.slice(0, 10)) || "time unknown",
              ),
            );
          }),
        ),
      ),
    ),
  );
}

/** Days on which a site was silent, the longest first. @param {{site: string, from: string, to: string, days: number}[]} gaps */
export function gapsView(gaps, most = 12) {
  if (!gaps.length)
    return h("p", { class: "muted" }, "Every site has sound on every day between its first and its last.");
  const row = (gap) =>
    h(
      "li",
      null,
      h(
        "button",
        {
          class: "gap",
          type: "button",
          onclick: () => setParams({ site: [gap.site], date_from: null, date_to: null }),
        },
        h("bdi", null, gap.site),
        h("span", { class: "muted" }, gap.from === gap.to ? day(gap.from) : `${day(gap.from)} – ${day(gap.to)}`),
        h("b", null, plural(gap.days, "day")),
      ),
    );
  return h(
    "div",
    null,
    h("ul", { class: "gaps" }, gaps.slice(0, most).map(row)),
    gaps.length > most &&
      h(
        "details",
        null,
        h("summary", null, `${count(gaps.length - most)} more`),
        h("ul", { class: "gaps" }, gaps.slice(most, 500).map(row)),
      ),
  );
}

/** Sites where they lie, without map tiles: coordinates, a graticule and a scale. Works offline and shows nothing to others. */
import { h, svg } from "../core/dom.js";
import { plural } from "../core/format.js";
import { ticks } from "./scales.js";

const WIDTH = 276;
const HEIGHT = 180;
const PAD = 26;
const SITES_MIN = 2;
const KM_PER_DEGREE = 111.32;

/**
 * @param {{sites: any[], chosen: string[], onToggle: (site: string) => void, width?: number, height?: number}} options
 * @returns {{el: HTMLElement, set: (chosen: string[]) => void}|null}  null if fewer than two sites have coordinates
 */
export function siteMap({ sites, chosen, onToggle, width = WIDTH, height = HEIGHT }) {
  const placed = sites.filter((s) => Number.isFinite(s.latitude) && Number.isFinite(s.longitude));
  if (placed.length < SITES_MIN) return null;
  const view = frame(placed, width, height);
  const points = new Map();
  const most = Math.max(...placed.map((s) => s.windows || 1));
  // Small ones on top, so that each can be hit.
  const shapes = [...placed]
    .sort((a, b) => (b.windows || 0) - (a.windows || 0))
    .map((site) => {
      const [x, y] = view.at(site.longitude, site.latitude);
      const radius = 5 + 5 * Math.sqrt((site.windows || 0) / most);
      const text = `${site.site}: ${plural(site.windows || 0, "window")}`;
      const toggle = () => onToggle(site.site);
      const g = svg(
        "g",
        {
          class: "sitemap__site",
          tabindex: "0",
          role: "button",
          "aria-pressed": "false",
          "aria-label": text,
          onclick: toggle,
          onkeydown: (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), toggle()),
        },
        svg("title", null, text),
        svg("circle", { cx: x, cy: y, r: 12, class: "sitemap__hit" }),
        svg("circle", { cx: x, cy: y, r: radius, class: "sitemap__dot" }),
        placed.length <= 12
          ? svg(
              "text",
              {
                x: x > width - 80 ? x - radius - 4 : x + radius + 4,
                y: y + 3.5,
                "text-anchor": x > width - 80 ? "end" : "start",
              },
              site.site,
            )
          : null,
      );
      points.set(site.site, g);
      return g;
    });
  const map = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "sitemap__svg", role: "group", "aria-label": "Sites on a map" },
    graticule(view, width, height),
    shapes,
    scaleBar(view, height),
  );
  const el = h("div", { class: "sitemap" }, map);
  const set = (names) => {
    for (const [name, g] of points) g.setAttribute("aria-pressed", String(names.includes(name)));
    el.classList.toggle("has-choice", names.length > 0);
  };
  set(chosen);
  return { el, set };
}

/** A projection of equal distances near the middle, fitted to the sites. */
function frame(sites, width, height) {
  const lats = sites.map((s) => s.latitude);
  const lons = sites.map((s) => s.longitude);
  const middle = { lat: (Math.min(...lats) + Math.max(...lats)) / 2, lon: (Math.min(...lons) + Math.max(...lons)) / 2 };
  const shrink = Math.max(0.05, Math.cos((middle.lat * Math.PI) / 180));
  const high = Math.max(Math.max(...lats) - Math.min(...lats), 0.002);
  const wide = Math.max((Math.max(...lons) - Math.min(...lons)) * shrink, 0.002);
  const scale = Math.min((width - 2 * PAD) / wide, (height - 2 * PAD) / high); // px per degree of latitude
  return {
    scale,
    at: (lon, lat) => [width / 2 + (lon - middle.lon) * shrink * scale, height / 2 - (lat - middle.lat) * scale],
    lons: [middle.lon - width / 2 / scale / shrink, middle.lon + width / 2 / scale / shrink],
    lats: [middle.lat - height / 2 / scale, middle.lat + height / 2 / scale],
    middle,
  };
}

function graticule(view, width, height) {
  const name = (value, plus, minus) => `${Number(Math.abs(value).toFixed(4))}° ${value < 0 ? minus : plus}`;
  return svg(
    "g",
    { class: "sitemap__grid", "aria-hidden": "true" },
    ticks(...view.lons, 3).map((lon) => {
      const [x] = view.at(lon, view.middle.lat);
      return [
        svg("path", { d: `M${x.toFixed(1)} 0V${height}` }),
        x < width - 40 ? svg("text", { x: x + 3, y: 10 }, name(lon, "E", "W")) : null,
      ];
    }),
    ticks(...view.lats, 3).map((lat) => {
      const [, y] = view.at(view.middle.lon, lat);
      return [
        svg("path", { d: `M0 ${y.toFixed(1)}H${width}` }),
        y > 24 && y < height - 26 ? svg("text", { x: 3, y: y - 3 }, name(lat, "N", "S")) : null,
      ];
    }),
  );
}

function scaleBar(view, height) {
  const kmPerPx = KM_PER_DEGREE / view.scale;
  const wanted = kmPerPx * 60;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const km = [5, 2, 1].map((m) => m * power).find((v) => v <= wanted) ?? power;
  const px = km / kmPerPx;
  return svg(
    "g",
    { class: "sitemap__scale", "aria-hidden": "true" },
    svg("path", { d: `M10 ${height - 12}v4h${px.toFixed(1)}v-4` }),
    svg("text", { x: 14 + px, y: height - 7 }, km >= 1 ? `${km} km` : `${Number((1000 * km).toPrecision(2))} m`),
  );
}

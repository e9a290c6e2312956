/** Icons as paths on a grid of 24, drawn with the text's colour. They need no request and obey the content policy. */
import { svg } from "./dom.js";

const PATHS = {
  play: ["M8 5.2v13.600l10.800-6.800z", "fill"],
  stop: ["M7 7h10v10H7z", "fill"],
  pause: ["M7.500 6h3v12h-3zM13.500 6h3v12h-3z", "fill"],
  search: ["M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500 20 20"],
  similar: ["M4 12h1.500M8 8v8M12 4.500v15M16 8v8M18.500 12H20"],
  upload: [
    "M12 16V5M7.500 9 12 4.500 16.500 9M5 15.500V18a1.500 1.500 0 0 0 1.500 1.500h11A1.500 1.500 0 0 0 19 18v-2.500",
  ],
  download: ["M12 4.500v11M7.500 11.500 12 16l4.500-4.500M5 19.500h14"],
  mic: ["M12 14.500a3 3 0 0 0 3-3v-5a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3zM6 11.500a6 6 0 0 0 12 0M12 17.500V21"],
  close: ["M6 6l12 12M18 6 6 18"],
  check: ["M5 12.500 10 17.500 19.500 7"],
  question: ["M9 9a3 3 0 1 1 4.500 2.600c-.9.6-1.500 1.200-1.500 2.400M12 17.600v.1"],
  filter: ["M4 6h16M7 12h10M10 18h4"],
  sun: [
    "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v1.500M12 19.500V21M3 12h1.500M19.500 12H21M5.600 5.600l1.100 1.100M17.300 17.300l1.100 1.100M5.600 18.400l1.100-1.100M17.300 6.700l1.100-1.100",
  ],
  moon: ["M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z"],
  auto: ["M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16", "half"],
  keyboard: ["M4 7.500h16v9H4zM7 10.500h.1M10 10.500h.1M13 10.500h.1M16.500 10.500h.1M8.500 13.500h7"],
  sliders: ["M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4"],
  undo: ["M8.500 5 4.500 9l4 4M4.500 9H14a5 5 0 0 1 0 10h-3"],
  more: ["M6 12h.1M12 12h.1M18 12h.1"],
  plus: ["M12 5v14M5 12h14"],
  minus: ["M5 12h14"],
  left: ["M14.500 5.500 8 12l6.500 6.500"],
  right: ["M9.500 5.500 16 12l-6.500 6.500"],
  up: ["M5.500 14.500 12 8l6.500 6.500"],
  down: ["M5.500 9.500 12 16l6.500-6.500"],
  arrow: ["M5 12h14M13 6l6 6-6 6"],
  open: ["M13 5h6v6M19 5l-8 8M16.500 13.500V19H5V7.500h5.500"],
  clock: ["M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 7.500V12l3 2"],
  pin: ["M12 20.500s6-5.600 6-10.500a6 6 0 1 0-12 0c0 4.900 6 10.500 6 10.500zM12 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4z"],
  calendar: ["M5 7h14v12H5zM5 10.500h14M8.500 4.500V8M15.500 4.500V8"],
  list: ["M8.500 6.500H20M8.500 12H20M8.500 17.500H20M4.500 6.500h.1M4.500 12h.1M4.500 17.500h.1"],
  grid: ["M5 5h5.500v5.500H5zM13.500 5H19v5.500h-5.500zM5 13.500h5.500V19H5zM13.500 13.500H19V19h-5.500z"],
  probe: ["M4 18.500 9.500 12l4 3.500L20 6.500M20 11V6.500h-4.500"],
  archive: ["M4.500 5h15v4h-15zM6 9v10.500h12V9M10 13h4"],
  jobs: ["M4 7h8M4 12h12M4 17h6M17 15l2 2 3-3.500"],
  tag: ["M4.500 4.500h7l8 8-7 7-8-8zM8.500 8.500h.1"],
  wave: ["M3 12h2l2-5 3 11 3-14 3 12 2-4h3"],
  info: ["M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 11v5M12 8v.1"],
  warn: ["M12 4.500 20.500 19.500h-17zM12 10v4.500M12 17v.1"],
  reload: ["M19 6v4.500h-4.500M18.500 10.500A7 7 0 1 0 19 14"],
  trash: ["M5 7h14M10 7V5h4v2M7 7l.8 12.500h8.400L17 7"],
  zoom: ["M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500 20 20M8 10.500h5M10.500 8v5"],
  person: ["M12 12a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM5 19.500c.8-3 3.500-5 7-5s6.200 2 7 5"],
};

/**
 * @param {keyof typeof PATHS} name
 * @param {{size?: number, label?: string}} [options]  with `label` it is an image of that name, else decoration
 * @returns {SVGElement}
 */
export function icon(name, { size = 18, label } = {}) {
  const [path, how] = PATHS[name];
  const common = { viewBox: "0 0 24 24", width: size, height: size, class: "icon", focusable: "false" };
  const filled = how === "fill";
  const shape = svg("path", {
    d: path,
    fill: filled ? "currentColor" : "none",
    stroke: filled ? "none" : "currentColor",
    "stroke-width": 1.75,
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
  });
  const extra = how === "half" ? svg("path", { d: "M12 4a8 8 0 0 1 0 16z", fill: "currentColor" }) : null;
  return svg(
    "svg",
    { ...common, role: label ? "img" : null, "aria-label": label, "aria-hidden": label ? null : "true" },
    shape,
    extra,
  );
}

/** What a recording is, as a table; and what was found in all of it. */
import { h } from "../../core/dom.js";
import { bytes, count, day, duration, fixed, kHz, localTime, offset, species } from "../../core/format.js";
import { scoreBar } from "./panel.js";

const SOURCES = {
  table: "a deployment table",
  guano: "GUANO metadata",
  audiomoth: "the AudioMoth comment",
  name: "the file's name",
  header: "the file's header",
};

/** @param {any} r */
export function factsView(r) {
  const facts = [
    ["File", h("bdi", { class: "mono" }, r.path)],
    ["Site", h("a", { href: `/archive?site=${encodeURIComponent(r.site)}` }, r.site)],
    r.deployment && ["Deployment", r.deployment],
    ["Begins, local", `${localTime(r.local_start)}${r.zone ? ` (${r.zone})` : ""}`],
    ["Begins, UTC", r.utc_start ? `${String(r.utc_start).slice(0, 19).replace("T", " ")}` : "unknown"],
    ["Time is from", SOURCES[r.time_source] || r.time_source || "nowhere: unknown"],
    r.time_issues?.length && ["Doubts", [r.time_issues].flat().join(", ")],
    ["Length", `${duration(r.duration_s)} (${fixed(r.duration_s, 1)} s)`],
    [
      "Sound",
      [
        r.sample_rate_hz && kHz(r.sample_rate_hz),
        r.channels && (r.channels === 1 ? "mono" : `${r.channels} channels`),
        r.container,
        r.codec,
      ]
        .filter(Boolean)
        .join(", "),
    ],
    Number.isFinite(r.size_bytes) && ["Size", bytes(r.size_bytes)],
    r.recorder && ["Recorder", r.recorder],
    Number.isFinite(r.latitude) && ["Place", `${fixed(r.latitude, 4)}, ${fixed(r.longitude, 4)}`],
    ["Windows", count(r.windows)],
    ["State", r.status === "ok" || !r.status ? "ok" : `${r.status}${r.reason ? `: ${r.reason}` : ""}`],
  ].filter(Boolean);
  return h(
    "dl",
    { class: "facts" },
    facts.map(([term, text]) => [h("dt", null, term), h("dd", null, text)]),
  );
}

/**
 * The best classes of the recording; a click goes to the best window.
 * @param {any[]} rows @param {{chosen: string, onChoose: (row: any) => void}} options
 */
export function foundView(rows, { chosen, onChoose }) {
  if (!rows?.length) return h("p", { class: "muted" }, "The model's own classes found nothing here.");
  return h(
    "ul",
    { class: "found" },
    rows.map((row) => {
      const { common, scientific } = species(row.label);
      return h(
        "li",
        null,
        h(
          "button",
          {
            class: "found-row",
            type: "button",
            "aria-pressed": row.label === chosen,
            title: "Show it in the lane, and go to its best window",
            onclick: () => onChoose(row),
          },
          h("span", { class: "grow clip" }, common, scientific && h("i", { class: "scientific-side" }, scientific)),
          h("span", { class: "muted tiny nowrap" }, `${count(row.windows)} × · best ${offset(row.best_start_s, 0)}`),
          scoreBar(row.best_score),
          h("b", null, fixed(row.best_score, 2)),
        ),
      );
    }),
  );
}

/** The heading: where and when. */
export const headline = (r) => [
  h("bdi", null, r.site || "no site"),
  h(
    "span",
    { class: "muted" },
    r.local_start ? ` ${day(r.local_start)}, ${localTime(r.local_start).slice(11)}` : " time unknown",
  ),
];

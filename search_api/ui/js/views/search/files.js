/** Hits as files, made here in the browser: CSV, JSON, a Raven selection table, and addresses of the clips' audio. */
import { url } from "../../core/api.js";

const COLUMNS = [
  "rank",
  "score",
  "path",
  "site",
  "deployment",
  "local_start",
  "utc_start",
  "start_s",
  "end_s",
  "label",
  "judgement",
  "annotator",
  "window_id",
  "recording_id",
  "exact",
  "audio",
];

/** The address of a window's audio, whole, for another program. */
export const audioLink = (hit) =>
  new URL(url(`windows/${encodeURIComponent(hit.window_id)}/audio`, { form: "wav" }), location.origin).href;

/** A text that a spreadsheet would take for a formula is kept from being one. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const rowOf = (hit) => ({ ...hit, audio: audioLink(hit) });

/** @param {any[]} hits  with `label`, `judgement`, `annotator` where they were judged */
export const toCsv = (hits) =>
  [COLUMNS.join(","), ...hits.map((hit) => COLUMNS.map((name) => cell(rowOf(hit)[name])).join(","))].join("\r\n") +
  "\r\n";

/** @param {any[]} hits @param {any} about  the search */
export const toJson = (hits, about) =>
  `${JSON.stringify({ search: about, hits: hits.map((hit) => Object.fromEntries(COLUMNS.map((name) => [name, rowOf(hit)[name] ?? null]))) }, null, 2)}\n`;

/** Raven's selection table. Begin times are inside each recording, so it is opened with the recordings of "Begin Path". @param {any[]} hits @param {number} highHz */
export function toRaven(hits, highHz) {
  const tab = (value) => String(value ?? "").replace(/[\t\r\n]+/g, " ");
  const head = [
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin Path",
    "File Offset (s)",
    "Label",
    "Judgement",
    "Score",
  ];
  const rows = hits.map((hit, i) =>
    [
      i + 1,
      "Spectrogram 1",
      1,
      hit.start_s.toFixed(6),
      hit.end_s.toFixed(6),
      "0.0",
      highHz.toFixed(1),
      hit.path,
      hit.start_s.toFixed(6),
      hit.label,
      hit.judgement,
      hit.score?.toFixed(6),
    ]
      .map(tab)
      .join("\t"),
  );
  return `${[head.join("\t"), ...rows].join("\n")}\n`;
}

/** One address a line. */
export const toLinks = (hits) => `${hits.map(audioLink).join("\n")}\n`;

/** Hand a text to the browser as a file. */
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** Values as people read them. Times are shown as the service gave them, on the site's clock: no time zone of the browser comes in. */

const LOCAL = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(?:\.\d+)?(Z|[+-]\d{2}:?\d{2})?$/;

/**
 * The parts of a time as given: of "2025-05-10T04:12:00+02:00" the date, "04:12:00", "04:12" and "+02:00".
 * @returns {{date: string, time: string, clock: string, offset: string}|null}
 */
export function timeParts(iso) {
  const m = LOCAL.exec(iso || "");
  return m && { date: m[1], time: m[2] + (m[3] || ""), clock: m[2], offset: m[4] || "" };
}

/** "2025-05-10 04:12:00", or "time unknown". */
export function localTime(iso, { seconds = true } = {}) {
  const parts = timeParts(iso);
  return parts ? `${parts.date} ${seconds ? parts.time : parts.clock}` : "time unknown";
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
export const monthName = (month) => MONTHS[month - 1];

/** "10 May 2025" of an ISO date. */
export function day(date) {
  const m = /^(\d{4})-(\d{2})-(\d{2})/.exec(date || "");
  return m ? `${Number(m[3])} ${MONTHS[Number(m[2]) - 1]} ${m[1]}` : "no date";
}

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compactForm = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 12,345 */
export const count = (n) => (n === null || n === undefined ? "–" : grouped.format(n));
/** 12.3K */
export const compact = (n) => (n === null || n === undefined ? "–" : compactForm.format(n));
/** "1 window", "12,345 windows" */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
/** A number with fixed digits, or a dash. */
export const fixed = (x, digits = 3) => (Number.isFinite(x) ? x.toFixed(digits) : "–");
/** 0.873 → "87 %" */
export const percent = (x, digits = 0) => (Number.isFinite(x) ? `${(100 * x).toFixed(digits)} %` : "–");

/** 12 → "12 s", 12.34 → "12.3 s" */
export function seconds(s, digits = 1) {
  if (!Number.isFinite(s)) return "–";
  return `${Number(s.toFixed(digits))} s`;
}

/** Inside a recording: 75.5 → "1:15.5", 3675 → "1:01:15". */
export function offset(s, digits = 1) {
  if (!Number.isFinite(s)) return "–";
  const scale = 10 ** digits;
  const whole = Math.round(Math.abs(s) * scale) / scale;
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = Number((whole % 60).toFixed(digits));
  const [a, b] = String(rest).split(".");
  const text = a.padStart(2, "0") + (b ? `.${b}` : "");
  return (s < 0 ? "−" : "") + (hours ? `${hours}:${String(minutes).padStart(2, "0")}:${text}` : `${minutes}:${text}`);
}

/** How long: 42 → "42 s", 600 → "10 min", 5400 → "1.5 h", 200000 → "2.3 days". */
export function duration(s) {
  if (!Number.isFinite(s)) return "–";
  if (s < 90) return `${Number(s.toFixed(s < 10 ? 1 : 0))} s`;
  if (s < 5400) return `${Number((s / 60).toFixed(s < 600 ? 1 : 0))} min`;
  if (s < 48 * 3600 * 2) return `${Number((s / 3600).toFixed(1))} h`;
  return `${Number((s / 86400).toFixed(1))} days`;
}

/** 8000 → "8 kHz" */
export const kHz = (hz, unit = true) => `${Number((hz / 1000).toFixed(hz < 1000 ? 2 : 1))}${unit ? " kHz" : ""}`;

/** 1536 → "1.5 kB" */
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let value = n;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${Number(value.toFixed(value < 10 && at ? 1 : 0))} ${units[at]}`;
}

/** Milliseconds the service took: "12 ms", "1.2 s". */
export const took = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/**
 * A label's names. BirdNET writes "Parus major_Great Tit"; a label without the mark is both.
 * @returns {{scientific: string, common: string}}
 */
export function species(label) {
  const text = String(label ?? "");
  const at = text.indexOf("_");
  if (at <= 0) return { scientific: "", common: text };
  return { scientific: text.slice(0, at), common: text.slice(at + 1) || text.slice(0, at) };
}

/** The name to show where there is room for one. */
export const speciesName = (label) => species(label).common;

/** The file's name of a stored path. */
export const fileName = (path) =>
  String(path ?? "")
    .split("/")
    .pop();

/** "forest/20250510_000000.flac" at 3 s → a file name without a folder or spaces, as for downloads. */
export const safeName = (text) => String(text).replace(/[^\w.-]+/g, "_");

/** What the archive's view shows, as its address says it. */
import { monthName, day } from "../../core/format.js";

/**
 * @param {URLSearchParams} params
 * @returns {{sites: string[], dateFrom: string, dateTo: string, hours: string, species: string[], scoreMin: number, measure: "rate"|"count", sort: string, siteSort: string}}
 */
export function stateOf(params) {
  const score = Number.parseFloat(params.get("score_min") ?? "");
  return {
    sites: params.getAll("site"),
    dateFrom: isDate(params.get("date_from")),
    dateTo: isDate(params.get("date_to")),
    hours: params.get("hours") || "",
    species: params.getAll("species").slice(0, 3),
    scoreMin: Number.isFinite(score) && score >= 0 && score <= 1 ? score : 0.5,
    measure: params.get("measure") === "count" ? "count" : "rate",
    sort: params.get("sort") || "windows",
    siteSort: params.get("site_sort") || "-site",
  };
}

const isDate = (text) => (/^\d{4}-\d{2}-\d{2}$/.test(text || "") ? text : "");

/** The filter that the lists obey, as the service's query parameters. */
export const filterOf = (state) => ({
  site: state.sites,
  date_from: state.dateFrom,
  date_to: state.dateTo,
  hours: state.hours,
});

export const isNarrowed = (state) => Boolean(state.sites.length || state.dateFrom || state.dateTo || state.hours);

/** "10 May 2025", "1–14 May 2025", "28 Apr – 3 May 2025". */
export function datesText(from, to) {
  if (!from && !to) return "";
  if (!from) return `until ${day(to)}`;
  if (!to) return `from ${day(from)}`;
  if (from === to) return day(from);
  const [[y0, m0, d0], [y1, m1, d1]] = [from, to].map((date) => date.split("-").map(Number));
  if (y0 !== y1) return `${day(from)} – ${day(to)}`;
  return m0 === m1 ? `${d0}–${d1} ${monthName(m0)} ${y0}` : `${d0} ${monthName(m0)} – ${d1} ${monthName(m1)} ${y0}`;
}

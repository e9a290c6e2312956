/** The one filter of the archive in the address, in JSON and in words. */
import { day, monthName, speciesName } from "../core/format.js";

/** Names of the address's parameters, and of the JSON object's fields. */
export const FILTER_FIELDS = {
  site: "sites",
  deployment: "deployments",
  recording: "recordings",
  date_from: "date_from",
  date_to: "date_to",
  month: "months",
  hours: "hours",
  sun: "sun",
  label: "label",
  score_min: "score_min",
  score_max: "score_max",
  rank_max: "rank_max",
  annotated: "annotated",
  annotation_label: "annotation_label",
  judgement: "judgement",
  overlap_min_s: "overlap_min_s",
  valid_min_s: "valid_min_s",
};
const LISTS = new Set(["site", "deployment", "recording", "month"]);
const NUMBERS = new Set(["month", "score_min", "score_max", "rank_max", "overlap_min_s", "valid_min_s"]);

/** Those parameters that are of the filter, as an object for `api.get`. @param {URLSearchParams} params */
export function filterParams(params) {
  const found = {};
  for (const name of Object.keys(FILTER_FIELDS)) {
    const all = params.getAll(name).filter(Boolean);
    if (all.length) found[name] = LISTS.has(name) ? all : all[0];
  }
  return found;
}

/** The filter as JSON, as POST /v1/search takes it. @param {URLSearchParams} params */
export function filterJson(params) {
  const found = {};
  for (const [name, value] of Object.entries(filterParams(params))) {
    const typed = [value]
      .flat()
      .map((one) => (NUMBERS.has(name) ? Number(one) : name === "annotated" ? one === "true" : one));
    found[FILTER_FIELDS[name]] = LISTS.has(name) ? typed : typed[0];
  }
  return found;
}

/** Changes that remove the whole filter. */
export const noFilter = () => Object.fromEntries(Object.keys(FILTER_FIELDS).map((name) => [name, null]));

/**
 * The filter in words, one part each, with what removes the part.
 * @param {URLSearchParams} params @returns {{text: string, without: Record<string, any>}[]}
 */
export function filterWords(params) {
  const get = (name) => params.get(name);
  const words = [];
  for (const name of ["site", "deployment", "recording"]) {
    const all = params.getAll(name);
    for (const one of all) words.push({ text: one, without: { [name]: all.filter((other) => other !== one) } });
  }
  const [from, to] = [get("date_from"), get("date_to")];
  if (from || to)
    words.push({
      text:
        from && to
          ? from === to
            ? day(from)
            : `${day(from)} – ${day(to)}`
          : from
            ? `from ${day(from)}`
            : `until ${day(to)}`,
      without: { date_from: null, date_to: null },
    });
  const months = params.getAll("month");
  if (months.length) words.push({ text: months.map((m) => monthName(Number(m))).join(", "), without: { month: null } });
  if (get("hours")) words.push({ text: get("hours").replace("-", "–"), without: { hours: null } });
  if (get("sun")) words.push({ text: get("sun"), without: { sun: null } });
  if (get("label")) words.push({ text: speciesName(get("label")), without: { label: null } });
  if (get("score_min")) words.push({ text: `score ≥ ${get("score_min")}`, without: { score_min: null } });
  if (get("score_max")) words.push({ text: `score ≤ ${get("score_max")}`, without: { score_max: null } });
  if (get("rank_max")) words.push({ text: `rank ≤ ${get("rank_max")}`, without: { rank_max: null } });
  if (get("annotated"))
    words.push({ text: get("annotated") === "true" ? "annotated" : "not annotated", without: { annotated: null } });
  if (get("annotation_label"))
    words.push({ text: `annotated ${speciesName(get("annotation_label"))}`, without: { annotation_label: null } });
  if (get("judgement")) words.push({ text: get("judgement"), without: { judgement: null } });
  for (const name of ["overlap_min_s", "valid_min_s"])
    if (get(name)) words.push({ text: `${name.split("_")[0]} ≥ ${get(name)} s`, without: { [name]: null } });
  return words;
}

/** A report in plain words: how good the probe is, how that was tried, and what a reader should know first. */
import { count, fixed, plural, speciesName } from "../../core/format.js";
import { known } from "./plots.js";

const FEW = 10;
const GROUPS = { recording: ["recording", "recordings"], day: ["day of a site", "days"], site: ["site", "sites"] };

/** The labels of a probe's classes. @param {{label: string, threshold: number}[]|undefined} classes  @returns {string[]} */
export const classNames = (classes) => (classes || []).map((one) => one.label);

/** The headline numbers: key, name, what it is. */
export const HEADLINE = [
  ["map", "mAP", "mean average precision"],
  ["cmap", "cmAP", "padded, as BirdCLEF has it"],
  ["roc_auc", "ROC-AUC", "mean over classes"],
  ["balanced_accuracy", "Balanced accuracy", ""],
  ["macro_f1", "Macro F1", ""],
  ["accuracy", "Accuracy", ""],
];

/** What counts as the probe's answer. */
export const decisionWords = (report) =>
  report.kind === "multiclass" ? "of the likeliest class" : "at the thresholds";

/** "0.781–0.882", or nothing. */
export const interval = (pair, digits = 3) =>
  known(pair) ? `${fixed(pair[0], digits)}–${fixed(pair[1], digits)}` : "";

/** A rate with three digits that matter. */
export const rate = (x) => (!Number.isFinite(x) ? "–" : x >= 100 ? count(x) : fixed(x, x >= 10 ? 1 : 2));

/** How good the probe is, in a sentence or two. */
export function verdict(report) {
  const test = report.test;
  if (!test) return "Nothing was held out, so nothing is known of how good this probe is.";
  const macro = test.macro || {};
  const seen = `${plural(test.rows, "window")} of ${plural(test.recordings, "recording")} that it was not trained on`;
  if (!Number.isFinite(macro.map))
    return `It was tried on ${seen}, but no class has both positives and negatives there: nothing is known of how good it is.`;
  const span = interval(macro.map_ci);
  const of = (report.classes || []).length;
  const only =
    macro.classes_counted !== undefined && macro.classes_counted !== of
      ? `, over the ${plural(macro.classes_counted, "class", "classes")} of ${of} that can be judged`
      : "";
  return `Mean average precision ${fixed(macro.map)}${span ? ` (${span} with 95 % confidence)` : ""}, where chance gives ${fixed(macro.map_chance)}${only}. Tried on ${seen}.`;
}

/** How the examples were parted. */
export function splitWords(report) {
  const { by = "recording", train = {}, test = {}, seed } = report.split || {};
  if (!test?.rows)
    return `All ${plural(train?.rows ?? 0, "window")} of ${plural(train?.recordings ?? 0, "recording")} were trained on; none were held out.`;
  const share = test.rows / Math.max(test.rows + (train.rows || 0), 1);
  return `Each ${(GROUPS[by] || [by])[0]} is wholly on one side. Trained on ${plural(train.rows, "window")} of ${plural(train.recordings, "recording")}, tried on ${plural(test.rows, "window")} of ${plural(test.recordings, "recording")} (${fixed(100 * share, 0)} % held out, seed ${seed ?? "–"}).`;
}

/** Whether the two sides share nothing (null: not known), and that in words. @returns {[boolean|null, string]} */
export function leakWords(report) {
  const split = report.split || {};
  const found = split.leaks;
  if (!split.test?.rows) return [null, "There is no other side to compare with."];
  if (!found) return [null, "The two sides were not compared."];
  const by = found.by || split.by || "recording";
  const [group, groups] = GROUPS[by] || [by, `${by}s`];
  const wrong = [
    found.shared_groups && `${plural(found.shared_groups, group, groups)} on both sides`,
    by !== "recording" && found.shared_recordings && `${plural(found.shared_recordings, "recording")} on both sides`,
    found.identical_vectors &&
      `${plural(found.identical_vectors, "test window")} with the very vector of a training window`,
    found.overlapping_windows &&
      `${plural(found.overlapping_windows, "test window")} in the same sound as a training window`,
  ].filter(Boolean);
  if (wrong.length) return [false, `The sides are not apart: ${wrong.join(", ")}. The numbers may be too good.`];
  return [true, `No ${group} is on both sides, no vector stands on both, no windows overlap across them.`];
}

/** What a reader should know before believing the numbers, the gravest first. @returns {string[]} */
export function cautions(report) {
  const told = [];
  const [apart, leak] = leakWords(report);
  if (apart === false) told.push(leak);
  if (report.solver?.converged === false) told.push("The training did not converge: another l2 may help.");
  const rows = Object.entries(report.test?.classes || {});
  const reached = rows
    .filter(([, row]) => known(row.ap_ci) && Number.isFinite(row.ap_chance) && row.ap_ci[0] <= row.ap_chance)
    .map(([name]) => speciesName(name));
  if (reached.length)
    told.push(
      `Chance is not ruled out for ${listed(reached)}: the interval of the average precision reaches down to it.`,
    );
  for (const row of report.threshold_rule?.chosen || [])
    if (row.note) told.push(`${speciesName(row.class)}: ${row.note}`);
  told.push(...(report.test?.notes || []));
  const few = rows
    .filter(([, row]) => row.n > 0 && row.n < FEW)
    .map(([name, row]) => `${speciesName(name)} (${row.n})`);
  if (few.length) told.push(`Fewer than ${FEW} positives were tried of ${listed(few)}: these numbers are loose.`);
  told.push(...(report.notes || []));
  return [...new Set(told.map(String))];
}

/** Whether more annotations would help, as far as the learning curve's end can tell. */
export function advice(rows) {
  const values = (rows || []).map((row) => row.map).filter((v) => Number.isFinite(v));
  if (values.length < 3) return "";
  const gain = values.at(-1) - values.at(-2);
  return gain > 0.02
    ? `It still rises at its end (by ${fixed(gain)}): more examples should help.`
    : "It is flat at its end: more of the same examples would change little.";
}

/** The recall of a guess that calls as many windows as the probe does. */
export function recallChance(row) {
  if (!Number.isFinite(row.recall) || !Number.isFinite(row.ap_chance)) return null;
  if (row.recall === 0) return Number.isFinite(row.precision) ? 0 : null;
  return row.precision ? Math.min(1, (row.recall * row.ap_chance) / row.precision) : null;
}

const listed = (names, most = 6) =>
  names.slice(0, most).join(", ") + (names.length > most ? ` and ${names.length - most} more` : "");

/** The service's advice names options of the command line; here the button stands for it. */
export const forPage = (message) =>
  String(message)
    .replace(/\s*\.?\s*--force takes it into use all the same\.?/, ".")
    .replace(/; or take it into use unseen: --force/, "");

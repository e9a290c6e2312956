/** Applying probes to the archive: a job, shown until it is done. */
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { follow } from "../jobs/follow.js";
import { progressBar } from "../jobs/row.js";
import { errorText, progressText } from "../jobs/words.js";
import { formError } from "../parts.js";

/** A job as a line: its bar, words and the way to it. @param {any} job @param {string} [what] */
export const jobLine = (job, what) =>
  h(
    "div",
    { class: "train-job" },
    what && h("span", { class: "small" }, what),
    progressBar(job),
    h("span", { class: "muted small" }, progressText(job)),
    h("a", { class: "small", href: `/jobs/${encodeURIComponent(job.job_id)}` }, "the job"),
  );

/** What came of a job that has ended; throws if it did not finish. */
export function finished(job) {
  if (job.state !== "finished")
    throw Object.assign(new Error(errorText(job) || `the job was ${job.state}`), { kind: job.state });
  return job.result || {};
}

/**
 * @param {string[]|"all"} probes @param {HTMLElement} outcome  shows how far it is, and what went wrong @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether it was done
 */
export async function applyProbes(probes, outcome, signal) {
  try {
    const { data: job } = await api.post("jobs", { kind: "apply", probes }, { signal });
    finished(await follow(job.job_id, (now) => replace(outcome, jobLine(now, "Applying to the archive")), { signal }));
    replace(outcome);
    return true;
  } catch (error) {
    if (error.kind !== "aborted") replace(outcome, formError(error));
    return false;
  }
}

/** Jobs in words: what kind, how far, how fast. */
import { count, duration, plural } from "../../core/format.js";

export const KINDS = { embed: "Embed", train: "Train", apply: "Apply", index: "Index" };
export const STATES = {
  queued: "waiting",
  running: "running",
  finished: "finished",
  failed: "failed",
  cancelled: "cancelled",
  interrupted: "interrupted",
};
const ENDED = new Set(["finished", "failed", "cancelled", "interrupted"]);

export const hasEnded = (job) => ENDED.has(job.state);

/** From 0 to 1; null if it cannot be told. */
export function share(job) {
  if (job.state === "finished") return 1;
  const { done, total } = job.progress || {};
  return Number.isFinite(done) && total > 0 ? Math.min(1, done / total) : null;
}

/** "embedding · 2,100 of 4,120 · 4 min left" */
export function progressText(job) {
  const { stage, done, total, eta_s: eta } = job.progress || {};
  const parts = [];
  if (job.state === "queued") return "waits for a free place";
  if (stage && !hasEnded(job)) parts.push(stage);
  if (Number.isFinite(done) && total > 0) parts.push(`${count(done)} of ${count(total)}`);
  if (job.state === "running" && Number.isFinite(eta)) parts.push(eta < 1 ? "nearly done" : `${duration(eta)} left`);
  return parts.join(" · ") || (job.state === "running" ? "running" : "");
}

/** How many times faster than the sound lasts; null if it cannot be told. */
export function xRealtime(job) {
  const own = job.result?.x_realtime ?? job.progress?.x_realtime;
  return Number.isFinite(own) && own > 0 ? own : null;
}

/** "1,904 × real time", with the digits that matter. */
export const speedText = (x) => (x === null ? "" : `${x >= 10 ? count(x) : x.toFixed(1)} × real time`);

/** Seconds from start to end, or to now. */
export function tookS(job, now = Date.now()) {
  const from = Date.parse(job.started || "");
  const to = job.ended ? Date.parse(job.ended) : now;
  return Number.isFinite(from) && Number.isFinite(to) ? Math.max(0, (to - from) / 1000) : null;
}

/** "3 min ago", for people; the exact time stands in its title. */
export function ago(iso, now = Date.now()) {
  const s = (now - Date.parse(iso || "")) / 1000;
  if (!Number.isFinite(s)) return "";
  if (s < 45) return "just now";
  if (s < 5400) return `${Math.max(1, Math.round(s / 60))} min ago`;
  if (s < 129600) return `${Math.round(s / 3600)} h ago`;
  return `${plural(Math.round(s / 86400), "day")} ago`;
}

/** What went wrong, in the service's words. */
export const errorText = (job) => job.error?.message || "";

/** What to do about a job that did not finish. */
export function nextStep(job) {
  if (job.state === "interrupted")
    return job.kind === "embed"
      ? "What was committed stays. Go on with it: only what is missing is done."
      : "Start it again; nothing was kept of it that is half done.";
  if (job.state === "failed")
    return job.kind === "embed"
      ? "What was committed stays. When the cause is gone, go on with it: only what is missing is done."
      : "When the cause is gone, start it again.";
  if (job.state === "cancelled")
    return job.kind === "embed" ? "What was committed stays, and can be searched." : "Nothing was kept.";
  return "";
}

/** The sums of a finished job. @returns {[string, string][]} */
export function resultFacts(job) {
  const r = job.result || {};
  const facts = [];
  const add = (name, value, show = count) => {
    if (Number.isFinite(value)) facts.push([name, show(value)]);
  };
  add("Files", r.files);
  add("Done", r.done);
  add("Skipped", r.skipped);
  add("Failed", r.failed);
  add("Pending", r.pending || undefined);
  add("Sound", r.audio_s, duration);
  add("Windows", r.windows);
  add("Hits", r.hits);
  add("Version", r.version, String);
  add("Speed", r.x_realtime, (x) => `${count(x)} ×`);
  if (facts.length) add("Took", r.wall_s ?? tookS(job) ?? undefined, duration);
  return facts;
}

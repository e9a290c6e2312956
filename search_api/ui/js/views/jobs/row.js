/** A job as a row of a list, that changes in place. */
import { h, replace } from "../../core/dom.js";
import { duration, localTime } from "../../core/format.js";
import { ago, errorText, hasEnded, KINDS, progressText, share, speedText, STATES, tookS, xRealtime } from "./words.js";

/** A bar; an empty one that moves where the end is not known. */
export function progressBar(job) {
  const at = share(job);
  const fill = h("i", { style: { transform: `scaleX(${at ?? 1})` } });
  return h(
    "div",
    {
      class: ["job-bar", `is-${job.state}`, at === null && job.state === "running" && "is-open"],
      role: "progressbar",
      "aria-label": "Progress",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": at === null ? null : Math.round(100 * at),
      "aria-valuetext": progressText(job),
    },
    fill,
  );
}

export const stateBadge = (job) =>
  h("span", { class: ["badge", `badge--${job.state}`] }, STATES[job.state] || job.state);

/** @returns {{element: HTMLElement, update: (job: any) => void}} */
export function jobRow(job) {
  const element = h("li", { class: "job-row" });
  function update(next) {
    const speed = speedText(xRealtime(next));
    const took = hasEnded(next) ? tookS(next) : null;
    const failures = next.result?.failed ?? next.progress?.failed;
    replace(
      element,
      h(
        "a",
        { class: "job-link", href: `/jobs/${encodeURIComponent(next.job_id)}` },
        h("span", { class: "job-kind" }, KINDS[next.kind] || next.kind),
        h("span", { class: "job-title" }, next.title || next.job_id),
        stateBadge(next),
      ),
      h(
        "div",
        { class: "job-progress" },
        progressBar(next),
        h(
          "div",
          { class: "job-words muted small" },
          h("span", null, hasEnded(next) ? errorText(next) || progressText(next) : progressText(next)),
          speed && h("span", null, speed),
          failures > 0 && h("span", { class: "warn-text" }, `${failures} failed`),
          took !== null && took > 0 && h("span", null, `took ${duration(took)}`),
          h(
            "span",
            { class: "job-when", title: localTime(next.started || next.created) },
            ago(next.ended || next.started || next.created),
          ),
        ),
      ),
    );
  }
  update(job);
  return { element, update };
}

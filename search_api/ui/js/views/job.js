/** One job: how far it is, what happened, what failed, its report. */
import { api, url } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { count, duration, localTime } from "../core/format.js";
import { icon } from "../core/icons.js";
import { navigate } from "../core/router.js";
import { toast, toastError } from "../core/toast.js";
import { confirm } from "../components/dialog.js";
import { errorState, loading, skeleton } from "../components/empty.js";
import { follow } from "./jobs/follow.js";
import { progressBar, stateBadge } from "./jobs/row.js";
import {
  errorText,
  hasEnded,
  KINDS,
  nextStep,
  progressText,
  resultFacts,
  speedText,
  tookS,
  xRealtime,
} from "./jobs/words.js";
import { block } from "./parts.js";

const EVENTS_MAX = 200;
const FAILURES_SHOWN = 100;

/** @param {HTMLElement} root @param {any} ctx */
export function mount(root, ctx) {
  const { signal, path } = ctx;
  const id = path.id;
  const base = `jobs/${encodeURIComponent(id)}`;
  const head = h("div", { class: "view__head" });
  const main = h("div", { class: "job-main" });
  const events = h("ol", { class: "job-events", "aria-label": "Events" });
  const facts = h("div", { class: "stats" });
  const failures = h("div");
  const eventsBlock = block("Events", { note: "newest first, UTC" }, events);
  const body = h("div", { class: "job" }, main, facts, failures, eventsBlock);
  let asked = false;
  let before = null;
  replace(root, head, loading("Loading the job", skeleton({ height: "240px" })));

  function draw(job, event) {
    if (!body.isConnected) replace(root, head, body);
    const cancel =
      job.can_cancel &&
      h(
        "button",
        { class: "btn btn--danger", type: "button", disabled: job.stopping, onclick: () => stop(job) },
        job.stopping ? "Is being cancelled" : "Cancel",
      );
    replace(
      head,
      h(
        "div",
        null,
        h("p", { class: "muted small" }, h("a", { href: "/jobs" }, "Jobs"), ` / ${KINDS[job.kind] || job.kind}`),
        h("h1", null, h("bdi", null, job.title || job.job_id), " ", stateBadge(job)),
      ),
      h("div", { class: "row row--wrap" }, again(job), cancel),
    );
    document.title = `${job.title || job.job_id} · ${job.state} · Sonotheque`;
    const error = errorText(job);
    const words = [
      progressText(job),
      speedText(xRealtime(job)),
      hasEnded(job) ? `took ${duration(tookS(job))}` : job.started && `for ${duration(tookS(job))}`,
    ].filter(Boolean);
    replace(
      main,
      h(
        "div",
        { class: "panel" },
        h(
          "div",
          { class: "panel__body stack" },
          progressBar(job),
          h("p", { class: "job-now" }, words.join(" · ")),
          error && h("p", { class: "job-error", role: "alert" }, icon("warn"), error),
          nextStep(job) && h("p", { class: "muted" }, nextStep(job)),
          h(
            "p",
            { class: "muted small" },
            [
              ["asked for", job.created],
              ["began", job.started],
              ["ended", job.ended],
            ]
              .filter(([, t]) => t)
              .map(([word, t]) => `${word} ${localTime(t)} UTC`)
              .join(" · "),
          ),
        ),
      ),
    );
    replace(
      facts,
      hasEnded(job) || job.result
        ? resultFacts(job).map(([name, value]) =>
            h(
              "div",
              { class: "stat" },
              h("div", { class: "stat__value" }, value),
              h("div", { class: "stat__label" }, name),
            ),
          )
        : null,
    );
    facts.hidden = !facts.children.length;
    note(job, event);
    if (hasEnded(job) && job.has_report && !asked) report();
    before = job;
  }

  /** Stages and states as they come; progress within a stage changes the bar, not the list. What was before this page was opened is told by the job's own times. */
  function note(job, event) {
    if (!before) {
      for (const [time, text] of [
        [job.created, "asked for"],
        [job.started, "began"],
        [job.ended, job.state],
      ])
        if (time) add(localTime(time).slice(11), text);
      if (!hasEnded(job) && job.progress?.stage) add(new Date().toISOString().slice(11, 19), job.progress.stage);
      return;
    }
    const stage = job.progress?.stage;
    for (const text of [
      before.state !== job.state && job.state,
      before.progress?.stage !== stage && stage,
      event?.data?.text,
    ])
      if (text) add(new Date().toISOString().slice(11, 19), text);
  }

  function add(time, text) {
    events.prepend(h("li", null, h("time", { class: "muted" }, time), text));
    while (events.children.length > EVENTS_MAX) events.lastElementChild.remove();
  }

  function again(job) {
    if (job.kind === "train" && job.state === "finished") {
      const name = job.result?.name || job.result?.probe;
      return (
        name &&
        h(
          "a",
          {
            class: "btn btn--primary",
            href: `/probes/${encodeURIComponent(name)}?version=${job.result.version ?? ""}`,
          },
          "Open the report",
        )
      );
    }
    if (job.can_resume)
      return h("button", { class: "btn btn--primary", type: "button", onclick: resume }, "Go on with it");
    if (job.kind === "embed" && job.state === "finished")
      return h("a", { class: "btn btn--primary", href: "/archive" }, "Open the archive");
    return null;
  }

  async function report() {
    asked = true;
    const link = (form, text) =>
      h(
        "a",
        { class: "btn btn--small", href: url(`${base}/report`, { form }), download: `report-${id}.${form}` },
        icon("download", { size: 15 }),
        text,
      );
    const tools = h("div", { class: "row" }, link("csv", "CSV"), link("xlsx", "XLSX"));
    try {
      const { data } = await api.get(`${base}/report`, { form: "json", failed: true }, { signal });
      const list = data.rows.map((row) => ({ path: row.path, kind: row.status, reason: row.reason }));
      replace(
        failures,
        block(
          list.length ? `Failures (${count(list.length)}${data.truncated ? " and more" : ""})` : "Report",
          { tools, flush: true },
          list.length
            ? table(list)
            : h("p", { class: "muted all-well" }, "Every recording was read. The report lists each of them."),
        ),
      );
    } catch (error) {
      if (error.kind !== "aborted") replace(failures, block("Report", {}, errorState(error)));
    }
  }

  function table(list) {
    const kinds = Map.groupBy
      ? Map.groupBy(list, (one) => one.kind)
      : list.reduce((map, one) => map.set(one.kind, [...(map.get(one.kind) || []), one]), new Map());
    return [...kinds]
      .toSorted((a, b) => b[1].length - a[1].length)
      .map(([kind, ones]) =>
        h(
          "details",
          { class: "failure-kind", open: kinds.size <= 3 },
          h(
            "summary",
            null,
            h("b", null, String(kind).replaceAll("_", " ")),
            h("span", { class: "badge badge--bad" }, count(ones.length)),
          ),
          h(
            "div",
            { class: "tablewrap" },
            h(
              "table",
              { class: "table" },
              h(
                "thead",
                { class: "visually-hidden" },
                h("tr", null, h("th", { scope: "col" }, "File"), h("th", { scope: "col" }, "Why")),
              ),
              h(
                "tbody",
                null,
                ones
                  .slice(0, FAILURES_SHOWN)
                  .map((one) =>
                    h(
                      "tr",
                      null,
                      h("td", { class: "file-cell" }, h("bdi", { class: "mono clip", title: one.path }, one.path)),
                      h("td", null, one.reason),
                    ),
                  ),
              ),
            ),
          ),
          ones.length > FAILURES_SHOWN &&
            h("p", { class: "muted small all-well" }, `${count(ones.length - FAILURES_SHOWN)} more are in the report.`),
        ),
      );
  }

  async function stop(job) {
    const sure = await confirm({
      title: "Cancel this job?",
      message:
        job.kind === "embed"
          ? "What is committed so far stays in the archive. The rest can be embedded later."
          : "Nothing of it will be kept.",
      confirm: "Cancel the job",
      danger: true,
    });
    if (!sure) return;
    try {
      const { data } = await api.post(`${base}/cancel`, {}, { signal });
      if (before && !hasEnded(before)) draw({ ...before, ...data });
      toast("The job is being cancelled");
    } catch (error) {
      toastError(error, "Could not be cancelled");
    }
  }

  async function resume() {
    try {
      const { data } = await api.post(`${base}/resume`, {}, { signal });
      if (data.job_id !== id) return navigate(`/jobs/${encodeURIComponent(data.job_id)}`);
      asked = false;
      replace(failures);
      run();
    } catch (error) {
      toastError(error, "Could not be begun again");
    }
    return undefined;
  }

  async function run() {
    try {
      await follow(id, draw, { signal });
    } catch (error) {
      if (error.kind !== "aborted") replace(root, errorState(error, run));
    }
  }
  run();
  return {};
}

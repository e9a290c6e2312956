/** The jobs: what runs now, what ran, and starting an embedding. */
import { api, sleep } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { setParams } from "../core/router.js";
import { info } from "../core/shell.js";
import { toastError } from "../core/toast.js";
import { dialog } from "../components/dialog.js";
import { empty, errorState, loading, skeleton } from "../components/empty.js";
import { follow } from "./jobs/follow.js";
import { jobRow } from "./jobs/row.js";
import { embedForm } from "./jobs/start.js";
import { hasEnded } from "./jobs/words.js";

const FOLLOWED_MAX = 2; // a browser keeps few connections to one host
const EACH_MS = 5000;

/** @param {HTMLElement} root @param {any} ctx */
export function mount(root, ctx) {
  const { signal } = ctx;
  const rows = new Map();
  const followed = new Set();
  const now = h("ul", { class: "job-list", "aria-label": "Running" });
  const before = h("ul", { class: "job-list", "aria-label": "Ended" });
  const nowBox = h("section", { class: "stack", hidden: true }, h("h2", null, "Now"), now);
  const beforeBox = h("section", { class: "stack", hidden: true }, h("h2", null, "Before"), before);
  const state = h("div", null, loading("Loading the jobs", skeleton({ height: "320px" })));
  const start = h(
    "button",
    { class: "btn btn--primary", type: "button", hidden: true, onclick: () => setParams({ new: "embed" }) },
    icon("plus"),
    "Embed recordings",
  );
  let shown = null;
  replace(
    root,
    h(
      "div",
      { class: "view__head" },
      h(
        "div",
        null,
        h("h1", null, "Jobs"),
        h("p", null, "Embedding recordings, training and applying probes, building the index."),
      ),
      start,
    ),
    h("div", { class: "jobs" }, state, nowBox, beforeBox),
  );
  info().then(
    (about) => {
      start.hidden = about.features.jobs === false || !about.you.scopes.includes("embed");
    },
    () => {},
  );

  function place(job) {
    let row = rows.get(job.job_id);
    if (!row) {
      row = { ...jobRow(job), job };
      rows.set(job.job_id, row);
    } else if (JSON.stringify(row.job) !== JSON.stringify(job)) row.update(job);
    row.job = job;
    return row;
  }

  function draw(jobs) {
    const known = new Set(jobs.map((job) => job.job_id));
    for (const [id, row] of rows)
      if (!known.has(id)) {
        row.element.remove();
        rows.delete(id);
      }
    for (const job of jobs) place(job);
    sort(
      now,
      jobs.filter((job) => !hasEnded(job)),
    );
    sort(before, jobs.filter(hasEnded));
    nowBox.hidden = !now.children.length;
    beforeBox.hidden = !before.children.length;
    replace(
      state,
      jobs.length
        ? null
        : empty({
            icon: "jobs",
            title: "No jobs yet",
            text: "Embedding a folder of recordings, training a probe or applying it makes one; it is shown here as it goes on.",
            action: start.hidden
              ? null
              : h(
                  "button",
                  { class: "btn", type: "button", onclick: () => setParams({ new: "embed" }) },
                  "Embed recordings",
                ),
          }),
    );
    for (const job of jobs) if (!hasEnded(job)) live(job);
  }

  /** Put rows in order without taking out those that stand right: what has the focus keeps it. */
  function sort(list, jobs) {
    jobs.forEach((job, at) => {
      const { element } = rows.get(job.job_id);
      if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
    });
    while (list.children.length > jobs.length) list.lastElementChild.remove();
  }

  function live(job) {
    if (followed.size >= FOLLOWED_MAX || followed.has(job.job_id)) return;
    followed.add(job.job_id);
    follow(
      job.job_id,
      (next) => {
        if (rows.has(next.job_id)) place(next);
      },
      { signal },
    )
      .catch(() => {})
      .finally(() => followed.delete(job.job_id));
  }

  async function run() {
    for (let first = true; !signal.aborted; first = false) {
      try {
        if (first || document.visibilityState === "visible") draw((await api.get("jobs", {}, { signal })).data);
      } catch (error) {
        if (error.kind === "aborted") return;
        if (!rows.size) replace(state, errorState(error, run));
        if (!rows.size) return;
      }
      await sleep(EACH_MS, signal).catch(() => {});
    }
  }

  async function form(open) {
    if (!open || shown) return;
    try {
      const { data: sources } = await api.get("jobs/sources", {}, { signal });
      if (signal.aborted) return;
      shown = dialog({
        title: "Embed recordings",
        body: embedForm({ sources, signal }),
        onClose: () => {
          shown = null;
          if (!signal.aborted) setParams({ new: null }, { replace: true });
        },
      });
      shown.el.querySelector("input, select")?.focus();
    } catch (error) {
      toastError(error);
    }
  }
  run();
  form(ctx.params.get("new") === "embed");
  return {
    update(next) {
      if (next.params.get("new") === "embed") form(true);
      else shown?.close();
    },
    unmount() {
      shown?.close();
    },
  };
}

/** One probe: the report of a version, its threshold over the archive, its hits, its versions. */
import { api } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { fixed, speciesName } from "../core/format.js";
import { href, setParams } from "../core/router.js";
import { toast } from "../core/toast.js";
import { errorState, skeleton } from "../components/empty.js";
import { formError, zone } from "./parts.js";
import { applyProbes } from "./probes/applying.js";
import { headOf, nextStep } from "./probes/head.js";
import { thresholdPlot } from "./probes/histogram.js";
import { hitsView } from "./probes/hits.js";
import { reportView } from "./probes/report.js";
import { versionsView } from "./probes/versions.js";
import { classNames } from "./probes/words.js";

const TABS = [
  ["report", "Report"],
  ["threshold", "Threshold"],
  ["hits", "Hits"],
  ["versions", "Versions"],
];

/** @param {HTMLElement} root @param {any} ctx */
export async function mount(root, ctx) {
  const { signal, path } = ctx;
  const name = path.name;
  const base = `probes/${encodeURIComponent(name)}`;
  replace(
    root,
    h(
      "div",
      { role: "status" },
      h("span", { class: "visually-hidden" }, "Loading the probe"),
      skeleton({ height: "96px" }),
      h("div", { class: "skeleton-gap" }),
      skeleton({ height: "520px" }),
    ),
  );
  let params = ctx.params;
  let { data: probe } = await api.get(base, {}, { signal });
  let part = null;
  let shown = "";
  document.title = `${name} · Probes · Sonotheque`;
  const head = h("div", { class: "view__head" });
  const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Probe", onkeydown: onTabKey });
  const outcome = h("div", { class: "apply-outcome", "aria-live": "polite" });
  const body = h("div", { class: "probe-body", role: "tabpanel", id: "probe-panel" });
  replace(root, head, outcome, tabs, body);

  const version = () => Number(params.get("version")) || probe.in_use || newest();
  const newest = () => Math.max(...probe.versions);
  const tab = () => (TABS.some(([key]) => key === params.get("tab")) ? params.get("tab") : "report");
  const classes = () => classNames(probe.classes);
  const label = () => (classes().includes(params.get("label")) ? params.get("label") : classes()[0]);

  function drawHead() {
    replace(head, headOf(probe, version(), apply));
    replace(
      tabs,
      TABS.map(([key, text]) =>
        h(
          "button",
          {
            class: "tab",
            type: "button",
            role: "tab",
            id: `tab-${key}`,
            "aria-selected": key === tab(),
            "aria-controls": "probe-panel",
            tabindex: key === tab() ? "0" : "-1",
            onclick: () => setParams({ tab: key === "report" ? null : key }),
          },
          text,
        ),
      ),
    );
    body.setAttribute("aria-labelledby", `tab-${tab()}`);
  }

  function onTabKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const at = TABS.findIndex(([key]) => key === tab());
    const next = TABS[(at + step + TABS.length) % TABS.length][0];
    setParams({ tab: next === "report" ? null : next }, { replace: true });
    tabs.querySelector(`#tab-${next}`)?.focus();
  }

  function draw() {
    drawHead();
    if (probe.problem) replace(outcome, formError(new Error(probe.problem)));
    const key = [
      tab(),
      tab() === "report" ? version() : "",
      tab() === "threshold" || tab() === "hits" ? label() : "",
      tab() === "hits" ? params.get("threshold") : "",
      tab() === "versions" ? `${params.get("a")} ${params.get("b")} ${probe.in_use}` : "",
    ].join("|");
    if (key === shown) return;
    shown = key;
    part?.destroy?.();
    part = { report, threshold, hits, versions }[tab()]();
    replace(body, part.element);
  }

  function report() {
    const v = version();
    const filled = zone({
      height: "640px",
      what: "Loading the report",
      signal,
      load: (stop) => api.get(`${base}/versions/${v}`, {}, { signal: stop }),
      render: ({ data }) => [
        params.get("trained") && nextStep(probe, v, apply),
        reportView(data.report, { name, version: v }),
      ],
    });
    filled.reload();
    return filled;
  }

  const classPick = () =>
    classes().length > 1 &&
    h(
      "label",
      { class: "row" },
      h("span", { class: "muted small" }, "Class"),
      h(
        "select",
        { class: "input class-pick", onchange: (event) => setParams({ label: event.target.value, threshold: null }) },
        classes().map((c) => h("option", { value: c, selected: c === label() }, speciesName(c))),
      ),
    );

  function threshold() {
    const own = label();
    const wanted = Number.parseFloat(params.get("threshold") ?? "");
    const filled = zone({
      height: "360px",
      what: "Loading the scores",
      signal,
      load: (stop) => api.get(`${base}/histogram`, { label: own, bins: 50 }, { signal: stop }),
      render: (answer) => [
        answer.data.source === "vectors" &&
          h(
            "p",
            { class: "next-step" },
            h("span", { class: "grow" }, "Not applied to the archive yet: these scores were made for this view."),
            h(
              "button",
              { class: "btn btn--small btn--primary", type: "button", onclick: apply },
              "Apply to the archive",
            ),
          ),
        thresholdPlot(answer.data, {
          threshold: Number.isFinite(wanted) ? wanted : undefined,
          onChange: (t) =>
            setParams(
              { threshold: Math.abs(t - answer.data.threshold) < 1e-6 ? null : fixed(t, 3) },
              { replace: true, silent: true },
            ),
        }),
        h(
          "div",
          { class: "row row--wrap" },
          h("button", { class: "btn", type: "button", onclick: () => setParams({ tab: "hits" }) }, "Show these hits"),
          h(
            "a",
            { class: "btn", href: href(`/probes/${encodeURIComponent(name)}/review`, { how: "margin", label: own }) },
            "Judge what lies at the threshold",
          ),
        ),
        (answer.meta.notes || []).map((note) => h("p", { class: "muted small" }, note)),
      ],
    });
    filled.reload();
    return { element: h("div", { class: "stack" }, classPick(), filled.element) };
  }

  function hits() {
    const at = Number.parseFloat(params.get("threshold") ?? "");
    const view = hitsView({
      name,
      version: probe.in_use,
      label: label(),
      threshold: Number.isFinite(at) ? at : null,
      signal,
      onApply: apply,
    });
    const said = h(
      "p",
      { class: "muted small" },
      Number.isFinite(at)
        ? `Windows with a score of ${fixed(at, 3)} or more.`
        : "Windows at or above the probe's own threshold.",
    );
    return {
      element: h("div", { class: "stack" }, h("div", { class: "row row--wrap" }, classPick(), said), view.element),
      destroy: view.destroy,
    };
  }

  function versions() {
    const number = (key) => Number(params.get(key)) || null;
    return { element: versionsView({ probe, a: number("a"), b: number("b"), signal, onChanged: again }) };
  }

  async function again() {
    ({ data: probe } = await api.get(base, {}, { signal }));
    shown = "";
    draw();
  }

  async function apply() {
    const isDone = await applyProbes([name], outcome, signal);
    if (!isDone) return;
    toast(`${name} was applied to the archive`, {
      kind: "good",
      action: { label: "Hits", run: () => setParams({ tab: "hits" }) },
    });
    await again();
  }

  try {
    draw();
  } catch (error) {
    replace(body, errorState(error));
  }
  return {
    update(next) {
      params = next.params;
      draw();
    },
    unmount() {
      part?.destroy?.();
    },
  };
}

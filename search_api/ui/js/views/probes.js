/** The probes: which there are, how good they are, and training another from what was judged. */
import { api } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { fixed, plural, speciesName } from "../core/format.js";
import { icon } from "../core/icons.js";
import { toast } from "../core/toast.js";
import { empty } from "../components/empty.js";
import { block, zone } from "./parts.js";
import { applyProbes } from "./probes/applying.js";
import { strip } from "./probes/plots.js";
import { judgedWords, trainForm } from "./probes/train.js";
import { classNames } from "./probes/words.js";

/** @param {HTMLElement} root @param {any} ctx */
export function mount(root, ctx) {
  const { signal } = ctx;
  let names = [];
  const applying = h("div", { class: "apply-outcome", "aria-live": "polite" });
  const applyAll = h(
    "button",
    { class: "btn", type: "button", hidden: true, onclick: apply },
    "Apply all to the archive",
  );
  const note = h("span");
  const list = zone({
    height: "280px",
    what: "Loading the probes",
    signal,
    load: (stop) => api.get("probes", {}, { signal: stop }),
    render: ({ data }) => {
      names = data.map((row) => row.name);
      applyAll.hidden = !data.some((row) => row.in_use !== null && !row.problem);
      if (!data.length)
        return empty({
          icon: "probe",
          title: "No probes yet",
          text: "A probe is a detector made from your own judgements. Judge some windows, then train one below.",
        });
      return h("div", { class: "probe-cards" }, data.map(probeCard));
    },
  });
  const train = zone({
    height: "220px",
    what: "Loading what was judged",
    signal,
    load: (stop) => api.get("annotations/labels", {}, { signal: stop }),
    render: ({ data }) => {
      replace(note, data.length ? judgedWords(data) : "");
      return trainForm({
        rows: data,
        names,
        chosen: ctx.params.getAll("label"),
        name: ctx.params.get("name") || "",
        signal,
      });
    },
  });

  async function apply() {
    applyAll.disabled = true;
    if (await applyProbes("all", applying, signal)) toast("All probes were applied", { kind: "good" });
    applyAll.disabled = false;
  }

  replace(
    root,
    h(
      "div",
      { class: "view__head" },
      h(
        "div",
        null,
        h("h1", null, "Probes"),
        h("p", null, "Detectors made from your own judgements, tested on recordings that they never learnt from."),
      ),
      applyAll,
    ),
    h(
      "div",
      { class: "probes" },
      applying,
      list.element,
      block("Train from what was judged", { note, id: "train" }, train.element),
    ),
  );
  list
    .reload()
    .then(() => train.reload())
    .then(
      () =>
        ctx.params.has("label") && !signal.aborted && root.querySelector("#train")?.scrollIntoView({ block: "start" }),
    );
  return {};
}

function probeCard(row) {
  const to = `/probes/${encodeURIComponent(row.name)}`;
  const map = row.macro?.map;
  return h(
    "article",
    { class: ["panel probe-card", row.problem && "has-problem"] },
    h(
      "div",
      { class: "probe-head" },
      h("h2", null, h("a", { href: to }, h("bdi", null, row.name))),
      row.in_use !== null && row.in_use !== undefined
        ? h("span", { class: "badge badge--accent" }, `version ${row.in_use} of ${row.versions.length}`)
        : h("span", { class: "badge badge--warn" }, "none in use"),
    ),
    row.problem
      ? h("p", { class: "form-error" }, row.problem)
      : [
          h(
            "p",
            { class: "probe-classes" },
            classNames(row.classes)
              .slice(0, 4)
              .map((c) => h("span", { class: "chip" }, speciesName(c))),
            row.classes?.length > 4 && h("span", { class: "muted small" }, `and ${row.classes.length - 4} more`),
          ),
          h(
            "div",
            { class: "probe-metric" },
            h("span", { class: "probe-number" }, fixed(map)),
            h("span", { class: "muted small" }, "mean average precision"),
            strip("Mean average precision", map, null, null, 290),
          ),
          h(
            "p",
            { class: "muted small" },
            `ROC-AUC ${fixed(row.macro?.roc_auc)} · ${plural(row.classes?.length ?? 0, "class", "classes")}`,
          ),
        ],
    h(
      "div",
      { class: "probe-actions" },
      h("a", { class: "btn btn--small", href: to }, "Report"),
      !row.problem &&
        h("a", { class: "btn btn--small btn--primary", href: `${to}/review` }, icon("check", { size: 15 }), "Review"),
      !row.problem && h("a", { class: "btn btn--small", href: `${to}?tab=hits` }, "Hits"),
    ),
  );
}

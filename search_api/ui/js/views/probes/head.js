/** What stands above a probe's report: its name, its state, and what can be done. */
import { h } from "../../core/dom.js";
import { count, plural } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { href, setParams } from "../../core/router.js";
import { classNames } from "./words.js";

/** @param {any} probe @param {number} v  the version that is shown @param {() => void} apply */
export function headOf(probe, v, apply) {
  const { name, versions: list } = probe;
  const classes = classNames(probe.classes);
  return [
    h(
      "div",
      null,
      h("h1", null, h("bdi", null, name), h("span", { class: "muted" }, ` version ${v}`)),
      h(
        "p",
        null,
        v === probe.in_use ? "in use" : probe.in_use ? `version ${probe.in_use} is in use` : "no version is in use",
        ` · ${plural(classes.length, "class", "classes")} · ${plural(probe.versions.length, "version")} · `,
        probe.applied
          ? probe.applied.scored < probe.applied.windows
            ? `applied to ${count(probe.applied.scored)} of ${plural(probe.applied.windows, "window")}`
            : "applied to the whole archive"
          : "not applied to the archive",
      ),
    ),
    h(
      "div",
      { class: "row row--wrap" },
      list.length > 1 &&
        h(
          "select",
          {
            class: "input version-pick",
            "aria-label": "Version that is shown",
            onchange: (event) => setParams({ version: event.target.value, trained: null }),
          },
          list
            .toReversed()
            .map((n) =>
              h("option", { value: n, selected: n === v }, `version ${n}${n === probe.in_use ? " (in use)" : ""}`),
            ),
        ),
      h("button", { class: "btn", type: "button", onclick: apply }, "Apply to the archive"),
      h("a", { class: "btn", href: href("/probes", { label: classes, name }) }, "Train again"),
      h(
        "a",
        { class: "btn btn--primary", href: `/probes/${encodeURIComponent(name)}/review` },
        icon("check"),
        "Review",
      ),
    ),
  ];
}

/** After a training: what to do now. @param {any} probe @param {number} v  the new version @param {() => void} apply */
export function nextStep(probe, v, apply) {
  const first = v === probe.in_use;
  return h(
    "div",
    { class: "next-step" },
    icon("check"),
    h(
      "p",
      { class: "grow" },
      first
        ? `Version ${v} is trained and in use. Apply it to the archive to see its hits.`
        : `Version ${v} is trained; version ${probe.in_use} stays in use until you say so.`,
    ),
    first
      ? h("button", { class: "btn btn--small btn--primary", type: "button", onclick: apply }, "Apply to the archive")
      : h(
          "a",
          {
            class: "btn btn--small btn--primary",
            href: href(`/probes/${encodeURIComponent(probe.name)}`, { tab: "versions", a: probe.in_use, b: v }),
          },
          `Compare with version ${probe.in_use}`,
        ),
  );
}

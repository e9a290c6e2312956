/** The versions of a probe: which is in use, two of them on the same windows, taking one into use and back. */
import { api } from "../../core/api.js";
import { h, replace, uid } from "../../core/dom.js";
import { count, fixed, localTime } from "../../core/format.js";
import { setParams } from "../../core/router.js";
import { toast } from "../../core/toast.js";
import { dialog } from "../../components/dialog.js";
import { formError, zone } from "../parts.js";
import { comparison, history, METRICS } from "./comparison.js";
import { forPage } from "./words.js";

/**
 * @param {{probe: any, a: number|null, b: number|null, signal: AbortSignal, onChanged: () => void}} about
 */
export function versionsView({ probe, a, b, signal, onChanged }) {
  const path = `probes/${encodeURIComponent(probe.name)}`;
  const runs = (probe.runs || []).toSorted((x, y) => y.version - x.version);
  const numbers = runs.map((run) => run.version);
  const left = a ?? (probe.in_use !== numbers[0] ? probe.in_use : numbers[1]) ?? null;
  const right = b ?? numbers.find((v) => v !== left) ?? null;
  const pick = (name, value, words) =>
    h(
      "select",
      {
        class: "input",
        "aria-label": words,
        onchange: (event) => setParams({ [name]: event.target.value }, { replace: true }),
      },
      numbers.map((v) =>
        h("option", { value: v, selected: v === value }, `version ${v}${v === probe.in_use ? " (in use)" : ""}`),
      ),
    );
  const compared =
    numbers.length > 1 && left !== null && right !== null && left !== right
      ? zone({
          height: "200px",
          what: "Comparing",
          signal,
          load: (stop) => api.get(`${path}/compare`, { a: left, b: right }, { signal: stop }),
          render: ({ data }) => comparison(data),
        })
      : null;
  compared?.reload();

  async function promote(version) {
    const id = uid("why");
    const why = h("input", { class: "input", id, type: "text", maxlength: 400, placeholder: "for the record" });
    const outcome = h("div", { "aria-live": "polite" });
    const go = h("button", { class: "btn btn--primary", type: "submit" }, "Take it into use");
    let force = false;
    const form = h(
      "form",
      { class: "stack", onsubmit: send },
      h(
        "p",
        null,
        `Version ${version} is compared with version ${probe.in_use} on windows that neither has learnt from. It is taken only if it is better.`,
      ),
      h("div", { class: "field" }, h("label", { class: "field__label", for: id }, "Why"), why),
      outcome,
      h("div", { class: "row" }, go),
    );
    const shown = dialog({ title: `Take version ${version} into use`, body: form });
    why.focus();
    async function send(event) {
      event.preventDefault();
      if (force && !why.value.trim()) {
        why.focus();
        return;
      }
      go.disabled = true;
      try {
        const { data } = await api.post(
          `${path}/promote`,
          { version, why: why.value.trim(), ...(force ? { force: true } : {}) },
          { signal },
        );
        shown.close();
        toast(
          data.changed === false
            ? `Version ${version} was in use already`
            : `Version ${version} of ${probe.name} is in use`,
          { kind: "good" },
        );
        onChanged();
      } catch (error) {
        if (error.kind === "aborted") return;
        go.disabled = false;
        if (error.status !== 409 || force) {
          replace(outcome, formError(error));
          return;
        }
        force = true;
        why.required = true;
        why.placeholder = "needed: it is written into the record";
        go.className = "btn btn--danger";
        go.textContent = "Take it into use all the same";
        replace(
          outcome,
          h(
            "div",
            { class: "refused" },
            h("b", null, "Refused"),
            h("p", null, forPage(error.message)),
            h("p", { class: "muted small" }, "You may take it all the same. Say why."),
          ),
        );
        why.focus();
      }
    }
  }

  async function rollback() {
    const id = uid("why");
    const why = h("input", { class: "input", id, type: "text", maxlength: 400 });
    const outcome = h("div", { "aria-live": "polite" });
    const form = h(
      "form",
      {
        class: "stack",
        onsubmit: async (event) => {
          event.preventDefault();
          try {
            const { data } = await api.post(`${path}/rollback`, { why: why.value.trim() }, { signal });
            shown.close();
            toast(`Version ${data.version} is in use again`, { kind: "good" });
            onChanged();
          } catch (error) {
            if (error.kind !== "aborted") replace(outcome, formError(error));
          }
        },
      },
      h("p", null, "The version that was in use before is taken again. Nothing is deleted."),
      h("div", { class: "field" }, h("label", { class: "field__label", for: id }, "Why (for the record)"), why),
      outcome,
      h("div", { class: "row" }, h("button", { class: "btn btn--primary", type: "submit" }, "Go back")),
    );
    const shown = dialog({ title: "Back to the version before", body: form });
    why.focus();
  }

  const head = (text, numeric) => h("th", { scope: "col", class: numeric ? "num" : null }, text);
  return h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "table-scroll" },
      h(
        "table",
        { class: "table" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            head("Version"),
            head("Trained"),
            head("Learnt from", true),
            head("Tried on", true),
            METRICS.map(([, name]) => head(name, true)),
            head(""),
          ),
        ),
        h(
          "tbody",
          null,
          runs.map((run) =>
            h(
              "tr",
              { class: run.in_use || run.version === probe.in_use ? "is-on" : null },
              h(
                "td",
                { class: "nowrap" },
                h("b", null, `version ${run.version} `),
                run.version === probe.in_use && h("span", { class: "badge badge--accent" }, "in use"),
                run.imported && h("span", { class: "badge" }, "brought from elsewhere"),
              ),
              h("td", { class: "nowrap" }, run.created_utc ? localTime(run.created_utc, { seconds: false }) : "–"),
              h("td", { class: "num" }, count(run.train_rows)),
              h("td", { class: "num" }, count(run.test_rows)),
              METRICS.map(([key]) => h("td", { class: "num" }, fixed(run.macro?.[key]))),
              h(
                "td",
                { class: "num nowrap" },
                run.problem
                  ? h("span", { class: "form-error" }, run.problem)
                  : [
                      h(
                        "button",
                        {
                          class: "btn btn--small btn--quiet",
                          type: "button",
                          onclick: () => setParams({ version: run.version, tab: null }),
                        },
                        "Report",
                      ),
                      run.version !== probe.in_use &&
                        h(
                          "button",
                          { class: "btn btn--small", type: "button", onclick: () => promote(run.version) },
                          "Take into use",
                        ),
                    ],
              ),
            ),
          ),
        ),
      ),
    ),
    h(
      "div",
      { class: "row" },
      h(
        "button",
        { class: "btn btn--small", type: "button", disabled: (probe.promotions || []).length < 2, onclick: rollback },
        "Back to the version before",
      ),
    ),
    numbers.length > 1
      ? h(
          "section",
          { class: "compare" },
          h("h3", null, "Two versions on the same windows"),
          h(
            "div",
            { class: "row row--wrap" },
            pick("a", left, "First version"),
            h("span", { class: "muted" }, "against"),
            pick("b", right, "Second version"),
          ),
          compared ? compared.element : h("p", { class: "muted" }, "Choose two different versions."),
        )
      : h(
          "p",
          { class: "muted" },
          "With a second version, the two can be compared here. Review some windows and train again.",
        ),
    history(probe.promotions || []),
  );
}

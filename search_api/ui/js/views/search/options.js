/** How hits are chosen: best of each recording, site or day; how alike they may be; which score they are near; how many. */
import { h, uid } from "../../core/dom.js";
import { K_DEFAULT } from "./state.js";

const BEST_PER = [
  ["", "every window"],
  ["recording", "best of each recording"],
  ["site", "best of each site"],
  ["day", "best of each day"],
];
const DISTINCT = [
  ["", "nothing"],
  ["0.99", "what is nearly the same"],
  ["0.95", "what is much alike"],
  ["0.9", "what is alike"],
];
const COUNTS = [20, 50, 100, 200, 500, 1000];

/** @param {{onChange: (changes: Record<string, any>) => void}} options */
export function optionsPanel({ onChange }) {
  const field = (label, control, title) => {
    control.id = uid("option");
    return h(
      "div",
      { class: "option", title },
      h("label", { class: "option__label", for: control.id }, label),
      control,
    );
  };
  const select = (choices, name, otherwise = "") =>
    h(
      "select",
      {
        class: "input",
        onchange: (event) => onChange({ [name]: event.target.value === otherwise ? null : event.target.value }),
      },
      choices.map(([value, text]) => h("option", { value }, text)),
    );
  const bestPer = select(BEST_PER, "best_per");
  const distinct = select(DISTINCT, "distinct");
  const k = select(
    COUNTS.map((n) => [String(n), `${n} hits`]),
    "k",
    String(K_DEFAULT),
  );
  const near = h("input", {
    class: "input",
    type: "number",
    min: -1,
    max: 1,
    step: 0.01,
    placeholder: "the best",
    onchange: () => near.checkValidity() && onChange({ near: near.value || null }),
  });
  const combine = select(
    [
      ["best", "its best window"],
      ["mean", "all its windows"],
    ],
    "combine",
    "best",
  );
  const check = (name, text, title) => {
    const input = h("input", { type: "checkbox", onchange: () => onChange({ [name]: input.checked ? "1" : null }) });
    return { input, el: h("label", { class: "check", title }, input, text) };
  };
  const own = check("own", "also its own recording", "Hits of the recording that the window is of");
  const exact = check("exact", "compare every window exactly", "Slower, and never misses one");
  const combineField = field(
    "Sound is like",
    combine,
    "Of a longer sound: a hit is like its best window, or like all of them",
  );
  const el = h(
    "div",
    { class: "options" },
    h("div", { class: "filters__head" }, h("h2", null, "Hits")),
    field("Show", k),
    field("Of", bestPer),
    field("Leave out", distinct, "Hits that are very like a better one"),
    field("Scores near", near, "Hits whose scores are nearest to this: for finding a threshold"),
    combineField,
    own.el,
    exact.el,
  );
  return {
    el,
    /** @param {ReturnType<typeof import("./state.js").readState>} state */
    set(state) {
      const put = (control, value, text) => {
        if (![...control.options].some((o) => o.value === value)) control.append(h("option", { value }, text));
        control.value = value;
      };
      bestPer.value = state.bestPer || "";
      put(distinct, state.distinct === null ? "" : String(state.distinct), `cosine from ${state.distinct}`);
      put(k, String(state.k), `${state.k} hits`);
      near.value = state.near === null ? "" : String(state.near);
      combine.value = state.combine;
      combineField.hidden = !state.clip;
      own.input.checked = state.own;
      own.el.hidden = !state.window;
      exact.input.checked = state.exact;
    },
  };
}

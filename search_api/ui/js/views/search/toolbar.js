/** Above the hits: what was found and how, the label that is judged, what was judged, density, autoplay, export. */
import { combo } from "../../components/combo.js";
import { findLabels } from "../../components/labels.js";
import { h, replace } from "../../core/dom.js";
import { speciesName } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { prefs } from "../../core/store.js";

/**
 * @param {{strip: HTMLElement, onLabel: (label: string) => void, onDensity: (density: number) => void, onExport: () => void, onUndo: () => void, onFilters: () => void}} options
 */
export function toolbar({ strip, onLabel, onDensity, onExport, onUndo, onFilters }) {
  const title = h("h2", { class: "toolbar__title clip" }, "");
  const plan = h("p", { class: "toolbar__plan muted tiny" });
  const notes = h("div", { class: "toolbar__notes" });
  const counts = h("span", { class: "toolbar__counts small" });
  const label = combo({
    label: "Judge as",
    placeholder: "species or any word",
    value: "",
    find: findLabels,
    display: speciesName,
    onChoose: onLabel,
  });
  label.el.classList.add("toolbar__label");
  const suggestion = h("button", { class: "chip toolbar__suggest", type: "button", hidden: true });
  const densityButtons = [1, 2, 3].map((n) =>
    h(
      "button",
      {
        class: "seg__item",
        type: "button",
        "aria-label": ["Large cards", "Middle cards", "Small cards"][n - 1],
        title: "Size of the cards (+ −)",
        onclick: () => onDensity(n),
      },
      h(
        "span",
        { class: `dots dots--${n}`, "aria-hidden": "true" },
        Array.from({ length: n * n }, () => h("i", null)),
      ),
    ),
  );
  const auto = h(
    "button",
    {
      class: "btn btn--small",
      type: "button",
      "aria-pressed": String(prefs.get("autoplay")),
      title: "Play a card when it is chosen by key (A)",
      onclick: () => prefs.set("autoplay", !prefs.get("autoplay")),
    },
    icon("play", { size: 14 }),
    "Autoplay",
  );
  const off = prefs.on("autoplay", (on) => auto.setAttribute("aria-pressed", String(on)));
  const undoButton = h(
    "button",
    {
      class: "iconbtn iconbtn--small",
      type: "button",
      "aria-label": "Undo the last judgement",
      title: "Undo (Z)",
      onclick: onUndo,
    },
    icon("undo", { size: 17 }),
  );
  const exportButton = h(
    "button",
    { class: "btn btn--small", type: "button", onclick: onExport },
    icon("download", { size: 15 }),
    h("span", null, "Export"),
  );
  const filterButton = h(
    "button",
    { class: "btn btn--small toolbar__filter", type: "button", onclick: onFilters },
    icon("filter", { size: 15 }),
    h("span", null, "Filter"),
  );
  const el = h(
    "div",
    { class: "toolbar" },
    h("div", { class: "toolbar__what" }, title, plan, notes),
    h(
      "div",
      { class: "toolbar__judge" },
      label.el,
      suggestion,
      strip,
      h("span", { class: "toolbar__judged" }, counts, undoButton),
    ),
    h(
      "div",
      { class: "toolbar__do" },
      filterButton,
      h("div", { class: "seg", role: "group", "aria-label": "Size of the cards" }, densityButtons),
      auto,
      exportButton,
    ),
  );

  return {
    el,
    label,
    setTitle: (text) => replace(title, text),
    setPlan: (text, more = []) => {
      replace(plan, text);
      plan.title = text;
      replace(
        notes,
        more.map((note) => h("p", { class: "note tiny" }, icon("info", { size: 14 }), note)),
      );
    },
    setCounts({ all, positive, negative, uncertain }) {
      replace(
        counts,
        all
          ? [
              h("span", { class: "nowrap" }, `${all} judged`),
              positive ? h("span", { class: "badge badge--positive" }, `${positive} yes`) : null,
              negative ? h("span", { class: "badge badge--negative" }, `${negative} no`) : null,
              uncertain ? h("span", { class: "badge badge--uncertain" }, `${uncertain} unsure`) : null,
            ]
          : h("span", { class: "muted" }, "none judged yet"),
      );
    },
    setSuggestion(text, show, onTake) {
      suggestion.hidden = !text;
      if (!text) return;
      replace(suggestion, icon("tag", { size: 13 }), h("span", { class: "clip" }, show));
      suggestion.onclick = () => onTake(text);
      suggestion.setAttribute("aria-label", `Judge as ${show}`);
    },
    setTicked: (n) => replace(exportButton.lastElementChild, n ? `Export ${n}` : "Export"),
    setFilters: (n) => replace(filterButton.lastElementChild, n ? `Filter (${n})` : "Filter"),
    setDensity(n) {
      densityButtons.forEach((button, i) => button.setAttribute("aria-pressed", String(i + 1 === n)));
    },
    destroy() {
      off();
      label.destroy();
    },
  };
}

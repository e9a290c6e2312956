/** The export dialog: which hits, as what. */
import { dialog } from "../../components/dialog.js";
import { h } from "../../core/dom.js";
import { plural } from "../../core/format.js";
import { toast } from "../../core/toast.js";
import { download, toCsv, toJson, toLinks, toRaven } from "./files.js";

const FORMS = [
  {
    form: "csv",
    name: "CSV table",
    what: "a row for each window, with times, scores, judgements and a link to its audio",
    file: "hits.csv",
    type: "text/csv",
  },
  {
    form: "raven",
    name: "Raven selection table",
    what: "tab-separated, opens in Raven beside the recordings",
    file: "hits.selections.txt",
    type: "text/tab-separated-values",
  },
  {
    form: "json",
    name: "JSON",
    what: "the same with the search that found them",
    file: "hits.json",
    type: "application/json",
  },
  {
    form: "links",
    name: "Audio links",
    what: "one address a line, for a download manager or curl",
    file: "hits.urls.txt",
    type: "text/plain",
  },
];

/**
 * @param {{sets: {word: string, hits: any[]}[], about: any, highHz: number}} options  the first set that is not empty is proposed
 */
export function openExport({ sets, about, highHz }) {
  let chosen = sets.find((set) => set.hits.length) || sets[0];
  let form = FORMS[0];
  const radio = (group, value, checked, disabled, title, text, onchange) =>
    h(
      "label",
      { class: ["choice", disabled && "is-off"] },
      h("input", { type: "radio", name: group, value, checked, disabled, onchange }),
      h("span", null, h("strong", null, title), text && h("span", { class: "muted small" }, text)),
    );
  const save = h(
    "button",
    { class: "btn btn--primary", type: "button", disabled: !chosen.hits.length, onclick: write },
    "Save the file",
  );
  const body = h(
    "div",
    { class: "export" },
    h(
      "fieldset",
      { class: "export__part" },
      h("legend", { class: "field__label" }, "Which windows"),
      sets.map((set) =>
        radio("which", set.word, set === chosen, !set.hits.length, set.word, plural(set.hits.length, "window"), () => {
          chosen = set;
        }),
      ),
    ),
    h(
      "fieldset",
      { class: "export__part" },
      h("legend", { class: "field__label" }, "As what"),
      FORMS.map((one) =>
        radio("form", one.form, one === form, false, one.name, one.what, () => {
          form = one;
        }),
      ),
    ),
  );
  const shown = dialog({ title: "Export", body, actions: save });

  function write() {
    const text = {
      csv: () => toCsv(chosen.hits),
      json: () => toJson(chosen.hits, about),
      raven: () => toRaven(chosen.hits, highHz),
      links: () => toLinks(chosen.hits),
    }[form.form]();
    download(form.file, text, form.type);
    shown.close();
    toast(`${plural(chosen.hits.length, "window")} in ${form.file}`, { kind: "good" });
  }
}

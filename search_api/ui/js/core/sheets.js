/** Dialogs of the whole page: the keys, the settings, judgements that wait or were refused. */
import { dialog } from "../components/dialog.js";
import { outbox } from "./api.js";
import { h, uid } from "./dom.js";
import { timeParts } from "./format.js";
import { keys } from "./keys.js";
import { prefs } from "./store.js";

/** The keys that work now. */
export function openKeySheet() {
  if (document.querySelector("dialog[open]")) return;
  const groups = keys.list().flatMap(({ name, bindings }) => {
    const named = new Map();
    for (const b of bindings) named.set(b.group || name, [...(named.get(b.group || name) || []), b]);
    return [...named];
  });
  const body = h(
    "div",
    { class: "keysheet" },
    groups.map(([name, bindings]) =>
      h(
        "section",
        null,
        h("h3", null, name),
        h(
          "dl",
          null,
          bindings.map((b) =>
            h(
              "div",
              { class: "keysheet__row" },
              h(
                "dt",
                null,
                b.keys.map((key) => h("kbd", null, keys.show(key))),
              ),
              h("dd", null, b.label),
            ),
          ),
        ),
      ),
    ),
  );
  const shown = dialog({ title: "Keys", body, wide: true, class: "dialog--keys" });
  shown.el.addEventListener("keydown", (event) => event.key === "?" && shown.close());
}

function field(label, control, hint) {
  const id = uid("setting");
  control.id = id;
  return h(
    "div",
    { class: "field" },
    h("label", { class: "field__label", for: id }, label),
    control,
    hint && h("span", { class: "field__hint" }, hint),
  );
}

function choice(value, options, onchange) {
  return h(
    "select",
    { class: "input", onchange: (event) => onchange(event.target.value) },
    options.map(([v, text]) => h("option", { value: v, selected: String(v) === String(value) }, text)),
  );
}

function kHzInput(name, set, spec) {
  return h("input", {
    class: "input",
    type: "number",
    min: 0,
    max: 200,
    step: 0.5,
    placeholder: name === "min_hz" ? "0" : "all",
    value: spec[name] === null ? "" : spec[name] / 1000,
    onchange: (event) =>
      event.target.checkValidity() && set(name, event.target.value === "" ? null : Number(event.target.value) * 1000),
  });
}

/** Settings of spectrograms, playback and the annotator. */
export function openSettings() {
  const spec = () => prefs.get("spectrogram");
  const set = (name, value) => prefs.set("spectrogram", { ...spec(), [name]: value });
  const now = spec();
  const annotator = h("input", {
    class: "input",
    type: "text",
    autocomplete: "name",
    value: prefs.get("annotator"),
    placeholder: "the name of your key, or of who runs the service",
    maxlength: 100,
    onchange: (e) => prefs.set("annotator", e.target.value.trim()),
  });
  const body = h(
    "div",
    { class: "settings" },
    h("section", null, h("h3", null, "Judgements"), field("Annotator", annotator, "written beside each judgement")),
    h(
      "section",
      null,
      h("h3", null, "Spectrograms"),
      h(
        "div",
        { class: "settings__grid" },
        field(
          "Colours",
          choice(
            now.colormap,
            [
              ["viridis", "viridis"],
              ["magma", "magma"],
              ["inferno", "inferno"],
              ["plasma", "plasma"],
              ["gray_r", "ink on paper"],
              ["gray", "grey"],
            ],
            (v) => set("colormap", v),
          ),
        ),
        field(
          "Frequency axis",
          choice(
            now.scale,
            [
              ["linear", "linear"],
              ["mel", "mel"],
            ],
            (v) => set("scale", v),
          ),
        ),
        field(
          "Range",
          choice(
            now.range_db,
            [
              [40, "40 dB"],
              [60, "60 dB"],
              [80, "80 dB"],
              [100, "100 dB"],
              [120, "120 dB"],
            ],
            (v) => set("range_db", Number(v)),
          ),
        ),
        field(
          "Loudest colour is",
          choice(
            now.reference,
            [
              ["peak", "the peak"],
              ["background", "above background"],
            ],
            (v) => set("reference", v),
          ),
          "for faint calls: above background",
        ),
        field("From kHz", kHzInput("min_hz", set, now)),
        field("To kHz", kHzInput("max_hz", set, now)),
      ),
    ),
    h(
      "section",
      null,
      h("h3", null, "Listening"),
      h(
        "div",
        { class: "settings__grid" },
        field(
          "Before and after a window",
          choice(
            prefs.get("margin_s"),
            [
              [0, "nothing"],
              [1, "1 s"],
              [2, "2 s"],
              [5, "5 s"],
            ],
            (v) => prefs.set("margin_s", Number(v)),
          ),
        ),
        field(
          "Speed",
          choice(
            prefs.get("speed"),
            [
              [1, "as recorded"],
              [0.5, "half"],
              [0.25, "a quarter"],
              [0.1, "a tenth (bats)"],
            ],
            (v) => prefs.set("speed", Number(v)),
          ),
        ),
        field(
          "Loudness",
          choice(
            prefs.get("gain_db"),
            [
              [0, "as recorded"],
              [6, "+6 dB"],
              [12, "+12 dB"],
              [24, "+24 dB"],
            ],
            (v) => prefs.set("gain_db", Number(v)),
          ),
        ),
      ),
    ),
  );
  dialog({ title: "Settings", body });
}

/** Judgements that were refused, with the reason. */
export function openOutbox() {
  const { waiting, refused } = outbox.state();
  const body = h(
    "div",
    null,
    waiting
      ? h(
          "p",
          null,
          `${waiting} kept here until the service has confirmed them. Nothing is lost if this page is closed.`,
        )
      : null,
    refused.length
      ? [
          h("p", null, "The service refused these. They stay here until you send them again or throw them away."),
          h(
            "ul",
            { class: "outbox" },
            refused.map((item) =>
              h("li", null, h("strong", null, describe(item)), h("span", { class: "muted" }, item.refused)),
            ),
          ),
        ]
      : null,
  );
  const shown = dialog({
    title: "Judgements on their way",
    body,
    actions: refused.length
      ? [
          h(
            "button",
            {
              class: "btn",
              type: "button",
              onclick: () => {
                outbox.discardRefused();
                shown.close();
              },
            },
            "Throw away",
          ),
          h(
            "button",
            {
              class: "btn btn--primary",
              type: "button",
              onclick: () => {
                outbox.retryRefused();
                shown.close();
              },
            },
            "Send again",
          ),
        ]
      : null,
  });
}

function describe(item) {
  const first = item.body?.annotations?.[0] || item.body || {};
  const when = timeParts(new Date(item.at).toISOString());
  return [first.label, first.judgement || first.verdict, first.window_id, when && `(${when.date} ${when.clock} UTC)`]
    .filter(Boolean)
    .join(" · ");
}

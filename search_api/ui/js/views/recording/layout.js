/** Where everything of a recording's view stands. */
import { h } from "../../core/dom.js";
import { icon } from "../../core/icons.js";
import { block } from "../parts.js";
import { factsView, headline } from "./facts.js";

/** @param {any} parts */
export function layout({ recording, view, lane, panel, found, clockEl, span }) {
  const link = (target, word, name) =>
    target
      ? h(
          "a",
          {
            class: "btn btn--small",
            href: `/recordings/${encodeURIComponent(target)}`,
            title: `${word} recording of the site`,
          },
          name === "left" && icon("left", { size: 15 }),
          word,
          name === "right" && icon("right", { size: 15 }),
        )
      : h("span", { class: "btn btn--small is-off", "aria-hidden": "true" }, word);
  const tool = (name, words, run) =>
    h(
      "button",
      { class: "iconbtn iconbtn--small", type: "button", "aria-label": words, title: words, onclick: run },
      icon(name, { size: 16 }),
    );

  return [
    h(
      "div",
      { class: "view__head" },
      h("div", null, h("h1", null, headline(recording)), h("p", { class: "mono clip small" }, recording.path)),
      h(
        "nav",
        { class: "row", "aria-label": "Recordings of this site" },
        link(recording.previous, "Previous", "left"),
        link(recording.next, "Next", "right"),
      ),
    ),
    h(
      "div",
      { class: "recording" },
      h(
        "div",
        { class: "recording-main" },
        h(
          "section",
          { class: "panel", "aria-label": "Spectrogram" },
          h(
            "div",
            { class: "panel__head viewer-head" },
            clockEl,
            h(
              "div",
              { class: "row" },
              tool("left", "Move left (Shift + ←)", () => view.pan(-span() / 2)),
              tool("right", "Move right (Shift + →)", () => view.pan(span() / 2)),
              tool("minus", "Show more (−)", () => view.zoom(2)),
              tool("plus", "Show less, larger (+)", () => view.zoom(0.5)),
              h("button", { class: "btn btn--small", type: "button", onclick: () => view.whole() }, "Whole"),
            ),
          ),
          h(
            "div",
            { class: "panel__body viewer-body" },
            view.element,
            h("div", { class: "lanes-row" }, lane.element),
            h(
              "p",
              { class: "lanes-key muted tiny" },
              h(
                "span",
                null,
                "Above: annotations. Below: the model's best class of each window, darker for a higher score.",
              ),
              h("span", null, "Drag to choose a span; Ctrl + wheel zooms."),
            ),
          ),
        ),
        h(
          "div",
          { class: "recording-pair" },
          block("Found in this recording", {}, found),
          block("The file", {}, factsView(recording)),
        ),
      ),
      h("div", { class: "recording-side" }, panel.element),
    ),
  ];
}

/** The same places while the recording is asked for. */
export const skeletonView = () =>
  h(
    "div",
    { role: "status" },
    h("span", { class: "visually-hidden" }, "Loading the recording"),
    h("div", { class: "view__head" }, h("div", { class: "skeleton", style: { width: "320px", height: "56px" } })),
    h(
      "div",
      { class: "recording", "aria-hidden": "true" },
      h("div", { class: "recording-main" }, h("div", { class: "skeleton", style: { height: "620px" } })),
      h("div", { class: "recording-side" }, h("div", { class: "skeleton", style: { height: "420px" } })),
    ),
  );

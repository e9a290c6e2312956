/** The window that is judged now: large, with the question and the buttons. */
import { h } from "../../core/dom.js";
import { fixed, offset, species } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { toastError } from "../../core/toast.js";
import { judgeButtons, playButton, whereWhen } from "../../components/card.js";
import { recordingHref, similarHref, windowClip, windowPicture } from "../../components/listen.js";
import { player } from "../../components/player.js";
import { spectrogram } from "../../components/spectrogram.js";

/** Of the picture, in pixels. */
export const SIZE = { width: 1000, height: 420 };

/**
 * @param {any} row  of the queue
 * @param {{said: string|null, canUndo: boolean, say: (what: string) => void, back: () => void}} options
 * @returns {{elements: any[], parts: {destroy: () => void}[]}}
 */
export function stageOf(row, { said, canUndo, say, back }) {
  const { common, scientific } = species(row.label);
  const picture = spectrogram({
    ...windowPicture(row, SIZE),
    alt: `Spectrogram at ${offset(row.start_s)}`,
    playerId: row.window_id,
    height: "var(--stage-height)",
    lazy: false,
    onSeek: (s) => player.play({ ...windowClip(row), fromS: s }).catch((error) => toastError(error)),
  });
  const play = playButton({ id: row.window_id, clip: () => windowClip(row), class: "stage-play" });
  const judgeBar = judgeButtons({ onJudge: say, words: true });
  judgeBar.set(said === "skipped" ? null : said);
  const elements = [
    h(
      "div",
      { class: "stage-question" },
      h(
        "h2",
        null,
        "Is this ",
        h("b", null, common),
        "?",
        scientific && h("i", { class: "scientific-side" }, scientific),
      ),
      h(
        "div",
        { class: "row row--wrap" },
        h("span", { class: "badge badge--accent" }, `score ${fixed(row.score, 3)}`),
        row.stratum !== null && row.stratum !== undefined && h("span", { class: "badge" }, `bin ${row.stratum + 1}`),
      ),
    ),
    h("div", { class: "stage-picture" }, picture.el, play.el),
    h(
      "div",
      { class: "stage-foot" },
      whereWhen(row),
      h(
        "div",
        { class: "stage-links row" },
        h(
          "a",
          {
            class: "iconbtn",
            href: recordingHref(row),
            title: "Open the recording (O)",
            "aria-label": "Open the recording",
          },
          icon("open"),
        ),
        h(
          "a",
          {
            class: "iconbtn",
            href: similarHref(row),
            title: "Find more like this (M)",
            "aria-label": "Find more like this",
          },
          icon("similar"),
        ),
      ),
    ),
    h(
      "div",
      { class: "stage-judge" },
      h(
        "button",
        { class: "btn", type: "button", onclick: back, disabled: !canUndo },
        icon("undo"),
        "Undo",
        h("kbd", { "aria-hidden": "true" }, "Z"),
      ),
      judgeBar.el,
      h(
        "button",
        { class: "btn", type: "button", onclick: () => say("skipped") },
        "Skip",
        h("kbd", { "aria-hidden": "true" }, "S"),
      ),
    ),
  ];
  return { elements, parts: [picture, play] };
}

/** A window as a card: its spectrogram, where and when, play, judge, find more like it, tick. */
import { h, replace } from "../core/dom.js";
import { day, fileName, fixed, offset, speciesName, timeParts } from "../core/format.js";
import { icon } from "../core/icons.js";
import { toastError } from "../core/toast.js";
import { recordingHref, similarHref, windowClip, windowPicture } from "./listen.js";
import { player } from "./player.js";
import { spectrogram } from "./spectrogram.js";

export const JUDGEMENTS = [
  { judgement: "positive", key: "Y", word: "Yes" },
  { judgement: "negative", key: "N", word: "No" },
  { judgement: "uncertain", key: "U", word: "Unsure" },
];

/**
 * Three buttons Yes / No / Unsure.
 * @param {{onJudge: (judgement: string) => void, words?: boolean}} options
 */
export function judgeButtons({ onJudge, words = false }) {
  const buttons = JUDGEMENTS.map(({ judgement, key, word }) =>
    h(
      "button",
      {
        class: "judge__btn",
        type: "button",
        dataset: { judgement },
        "aria-pressed": "false",
        "aria-label": word,
        title: `${word} (${key})`,
        onclick: () => onJudge(judgement),
      },
      words ? [word, h("kbd", { "aria-hidden": "true" }, key)] : key,
    ),
  );
  const el = h("div", { class: "judge", role: "group", "aria-label": "Judge" }, buttons);
  return {
    el,
    /** @param {string|null} judgement */
    set(judgement) {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.judgement === judgement));
    },
  };
}

/** A play button that follows the player. @param {{id: string, clip: () => import("./player.js").Clip, label?: string, class?: string}} options */
export function playButton({ id, clip, label = "Play", class: name = "card__play" }) {
  const button = h(
    "button",
    {
      class: name,
      type: "button",
      "aria-label": label,
      title: "Play (Space)",
      onclick: () => player.toggle(clip()).catch((error) => toastError(error)),
    },
    icon("play"),
  );
  let was = false;
  const off = player.on(({ id: now }) => {
    const on = now === id;
    if (on === was) return;
    was = on;
    button.classList.toggle("is-playing", on);
    button.setAttribute("aria-label", on ? "Stop" : label);
    replace(button, icon(on ? "stop" : "play"));
  });
  return { el: button, destroy: off };
}

/** Where and when a window is, in two lines. */
export function whereWhen(window) {
  const time = timeParts(window.local_start);
  return h(
    "div",
    { class: "card__info" },
    h(
      "div",
      { class: "card__where" },
      h("strong", { class: "clip" }, window.site || "no site"),
      h(
        "span",
        {
          class: "card__when",
          title: time ? `site's clock${time.offset ? `, UTC${time.offset}` : ", offset unknown"}` : null,
        },
        time ? `${day(time.date)}  ${time.time}` : "time unknown",
      ),
    ),
    h("div", { class: "card__file clip", title: window.path }, `${fileName(window.path)} · ${offset(window.start_s)}`),
  );
}

/**
 * @param {any} hit  a window or a hit of the service
 * @param {{onJudge?: (hit: any, judgement: string) => void, onTick?: (hit: any, on: boolean) => void, onSelect?: (hit: any) => void, onSimilar?: (hit: any) => void,
 *   foot?: any, ticked?: boolean, judgement?: string|null, size?: {width: number, height: number}, score?: string, extra?: any, index?: number, total?: number}} options
 */
export function card(hit, options = {}) {
  const judge = options.onJudge ? judgeButtons({ onJudge: (judgement) => options.onJudge(hit, judgement) }) : null;
  const tick = options.onTick
    ? h("input", {
        type: "checkbox",
        checked: Boolean(options.ticked),
        "aria-label": "Tick for export",
        title: "Tick for export (X)",
        onchange: (event) => options.onTick(hit, event.target.checked),
      })
    : null;
  const play = playButton({
    id: hit.window_id,
    clip: () => windowClip(hit),
    label: `Play ${fileName(hit.path)} at ${offset(hit.start_s)}`,
  });
  const when = timeParts(hit.local_start);
  const name = `${hit.rank ? `Rank ${hit.rank}, ` : ""}${hit.site || "no site"}, ${when ? `${when.date} ${when.time}` : "time unknown"}${Number.isFinite(hit.score) ? `, score ${fixed(hit.score)}` : ""}`;
  const picture = spectrogram({
    ...windowPicture(hit, options.size),
    alt: `Spectrogram: ${name}`,
    playerId: hit.window_id,
    ratio: 400 / 200,
    onSeek: (s) => seek(s),
  });
  const notes = h("div", { class: "card__notes" });
  const similar = h(
    "a",
    {
      class: "iconbtn iconbtn--small",
      href: similarHref(hit),
      title: "Find more like this (M)",
      "aria-label": "Find more like this",
    },
    icon("similar", { size: 17 }),
  );
  if (options.onSimilar)
    similar.addEventListener("click", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
        event.preventDefault();
        options.onSimilar(hit);
      }
    });
  const el = h(
    "article",
    {
      class: "card",
      tabindex: "-1",
      "aria-label": name,
      "aria-posinset": options.index,
      "aria-setsize": options.total,
      dataset: { id: hit.window_id },
      onpointerdown: () => options.onSelect?.(hit),
      onclick: keepFocus,
    },
    h(
      "div",
      { class: "card__head" },
      hit.rank ? h("span", { class: "card__rank" }, `#${hit.rank}`) : null,
      options.extra,
      Number.isFinite(hit.score)
        ? [
            h(
              "span",
              { class: "card__score", title: hit.exact === false ? "from compressed codes" : "exact" },
              options.score ?? fixed(hit.score),
            ),
            h(
              "span",
              { class: "card__bar", "aria-hidden": "true" },
              h("i", { style: { "--share": Math.min(1, Math.max(0, hit.score)) } }),
            ),
          ]
        : null,
    ),
    h("div", { class: "card__pic" }, picture.el, play.el),
    whereWhen(hit),
    notes,
    h(
      "div",
      { class: "card__foot" },
      judge?.el,
      options.foot,
      h("span", { class: "grow" }),
      similar,
      h(
        "a",
        {
          class: "iconbtn iconbtn--small",
          href: recordingHref(hit),
          title: "Open the recording (Enter)",
          "aria-label": "Open the recording",
        },
        icon("open", { size: 17 }),
      ),
      tick && h("label", { class: "iconbtn iconbtn--small" }, tick),
    ),
  );

  /** After a click on one of its buttons the card has the focus, so that Space plays and does not press the button again. */
  function keepFocus(event) {
    if (event.detail && event.target.closest("button, .spec")) el.focus({ preventScroll: true });
  }

  function seek(s) {
    if (player.current?.id === hit.window_id) player.seek(s);
    else player.play({ ...windowClip(hit), fromS: s }).catch((error) => toastError(error));
  }

  /** Show a judgement of this sitting, or null; and what others said before. */
  function setJudgement(judgement, label) {
    judge?.set(judgement);
    for (const one of JUDGEMENTS) el.classList.toggle(`is-${one.judgement}`, one.judgement === judgement);
    const before = (hit.annotations || [])
      .slice(0, 4)
      .map((a) =>
        h(
          "span",
          { class: `badge badge--${a.judgement}`, title: a.annotator ? `by ${a.annotator}` : null },
          `${mark(a.judgement)} ${speciesName(a.label)}`,
        ),
      );
    const now =
      judgement && label
        ? h("span", { class: `badge badge--${judgement}` }, `${mark(judgement)} ${speciesName(label)}`)
        : null;
    replace(notes, now, before);
  }
  setJudgement(options.judgement ?? null, "");

  return {
    el,
    hit,
    picture,
    setJudgement,
    setTicked: (on) => {
      if (tick) tick.checked = on;
    },
    setCurrent(on, { focus = false } = {}) {
      el.classList.toggle("is-current", on);
      el.tabIndex = on ? 0 : -1;
      if (on) el.setAttribute("aria-current", "true");
      else el.removeAttribute("aria-current");
      if (on && focus) el.focus({ preventScroll: true });
    },
    toggle: () => player.toggle(windowClip(hit)),
    destroy() {
      picture.destroy();
      play.destroy();
    },
  };
}

const MARKS = { positive: "✓", negative: "✗", uncertain: "?" };
const mark = (judgement) => MARKS[judgement] || "";

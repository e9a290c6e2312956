/** The species that the model found, with the window that shows each best. */
import { h } from "../../core/dom.js";
import { count, day, fixed, localTime, species as names } from "../../core/format.js";
import { setParams } from "../../core/router.js";
import { playButton } from "../../components/card.js";
import { empty } from "../../components/empty.js";
import { recordingHref, windowClip } from "../../components/listen.js";
import { spectrogram } from "../../components/spectrogram.js";
import { sorted, sortHead } from "../parts.js";

const SHOWN = 25;

/**
 * @param {any[]} rows @param {any} state
 * @returns {{element: HTMLElement, destroy: () => void}}
 */
export function speciesView(rows, state) {
  if (!rows.length)
    return {
      element: empty({
        icon: "wave",
        title: "Nothing was found with this score",
        text: "Lower the least score, or clear the filter.",
        action: h(
          "button",
          { class: "btn", type: "button", onclick: () => setParams({ score_min: "0.1" }) },
          "Try 0.10",
        ),
      }),
      destroy() {},
    };
  const parts = [];
  const value = (row, key) =>
    key === "name" ? names(row.label).common : key === "best" ? row.best?.[0]?.score : row[key];
  const all = sorted(rows, state.sort, value);
  const body = h("tbody");
  const more = h("button", { class: "btn btn--quiet more", type: "button", onclick: () => grow(all.length) });
  const head = (text, key, numeric) =>
    sortHead({
      text,
      key,
      numeric,
      sort: state.sort,
      onSort: (sort) => setParams({ sort: sort === "windows" ? null : sort }, { replace: true }),
    });
  let shown = 0;

  function grow(to) {
    for (; shown < Math.min(to, all.length); shown += 1) body.append(line(all[shown]));
    more.hidden = shown >= all.length;
    more.textContent = `Show all ${count(all.length)} species`;
  }

  function line(row) {
    const { common, scientific } = names(row.label);
    const on = state.species.includes(row.label);
    const best = row.best?.[0];
    return h(
      "tr",
      { class: on ? "is-on" : null },
      h(
        "td",
        null,
        h(
          "button",
          {
            class: "species-name",
            type: "button",
            "aria-pressed": on,
            title: "Show when it was heard",
            onclick: () => choose(row.label, on),
          },
          common,
          scientific && h("i", null, scientific),
        ),
      ),
      h("td", { class: "num" }, count(row.windows)),
      h("td", { class: "num" }, count(row.days)),
      h("td", { class: "num" }, Number.isFinite(row.per_hour) ? fixed(row.per_hour, row.per_hour < 1 ? 3 : 1) : "–"),
      h("td", { class: "nowrap wide-only" }, row.first ? day(row.first) : "–"),
      h("td", { class: "nowrap wide-only" }, row.last ? day(row.last) : "–"),
      h("td", { class: "best-cell" }, best ? example(best, common) : null),
    );
  }

  function choose(label, on) {
    setParams({ species: on ? state.species.filter((s) => s !== label) : [label, ...state.species].slice(0, 3) });
    if (!on) document.querySelector(".activity-panel")?.scrollIntoView({ block: "start", behavior: "smooth" });
  }

  function example(window, common) {
    const id = window.window_id;
    const picture = spectrogram({
      src: `windows/${encodeURIComponent(id)}/spectrogram`,
      params: { width: 240, height: 88, margin_s: 0 },
      alt: `${common}, best example`,
      startS: window.start_s,
      endS: window.end_s,
      playerId: id,
      axes: false,
      height: "44px",
    });
    parts.push(picture);
    const play = playButton({
      id,
      clip: () => windowClip(window, { margin: 0 }),
      label: `Play the best example of ${common}`,
      class: "play-mini",
    });
    parts.push(play);
    return h(
      "div",
      { class: "best" },
      play.el,
      picture.el,
      h(
        "div",
        { class: "best-words" },
        h("a", { href: recordingHref(window) }, localTime(window.local_start, { seconds: false })),
        h("span", { class: "muted tiny clip" }, `${window.site ?? ""} · ${fixed(window.score, 2)}`),
      ),
    );
  }

  grow(SHOWN);
  const element = h(
    "div",
    { class: "tablewrap" },
    h(
      "table",
      { class: "table species-table" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head("Species", "name"),
          head("Windows", "windows", true),
          head("Days", "days", true),
          head("Per hour", "per_hour", true),
          withClass(head("First", "first")),
          withClass(head("Last", "last")),
          head("Best example", "best"),
        ),
      ),
      body,
    ),
    more,
  );
  return {
    element,
    destroy() {
      for (const part of parts) part.destroy();
    },
  };
}

const withClass = (cell) => {
  cell.classList.add("wide-only");
  return cell;
};

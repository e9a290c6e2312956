/** What a probe found in the archive, as cards, a page at a time. */
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { count, fixed, speciesName } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { keys } from "../../core/keys.js";
import { navigate } from "../../core/router.js";
import { toastError } from "../../core/toast.js";
import { card } from "../../components/card.js";
import { empty, errorState, loading, skeleton } from "../../components/empty.js";
import { judging } from "../../components/judging.js";
import { similarHref } from "../../components/listen.js";
import { judge, undoLast } from "../judging.js";

const PAGE = 24;

/**
 * @param {{name: string, version: number, label: string, threshold: number|null, signal: AbortSignal, onApply: () => void}} about
 * @returns {{element: HTMLElement, destroy: () => void}}
 */
export function hitsView({ name, version, label, threshold, signal, onApply }) {
  const cards = [];
  const grid = h("div", { class: "hit-grid" });
  const foot = h("div", { class: "list-foot" });
  const notes = h("div");
  const element = h("div", { class: "stack" }, notes, grid, foot);
  let cursor = null;
  let at = -1;
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);

  async function more() {
    replace(foot, loading("Loading hits", skeleton({ height: cards.length ? "40px" : "420px" })));
    try {
      const { data, meta } = await api.get(
        `probes/${encodeURIComponent(name)}/hits`,
        { label, threshold, limit: PAGE, cursor },
        { signal: both },
      );
      for (const hit of data) add(hit);
      cursor = meta.next;
      replace(
        notes,
        (meta.notes || []).map((note) => h("p", { class: "muted small" }, note)),
      );
      if (!cards.length)
        replace(
          foot,
          empty({
            icon: "probe",
            title: "No hits",
            text:
              threshold === null
                ? "No window reaches the probe's threshold."
                : `No window reaches ${fixed(threshold, 3)}: lower the threshold under Threshold.`,
          }),
        );
      else
        replace(
          foot,
          h("span", { class: "muted small" }, cursor ? `${count(cards.length)} shown` : `${count(cards.length)} hits`),
          cursor && h("button", { class: "btn", type: "button", onclick: more }, "Show more"),
        );
    } catch (error) {
      if (error.kind === "aborted") return;
      if (error.status === 404 && /applied/.test(error.message)) replace(foot, notApplied(onApply));
      else replace(foot, errorState(error, more));
    }
  }

  function add(hit) {
    let said = judging.of(hit, hit.label);
    const index = cards.length;
    const act = (judgement) => {
      const before = said;
      said = judgement;
      one.setJudgement(judgement, hit.label);
      judge({
        target: hit,
        label: hit.label,
        judgement,
        provenance: `hits of probe ${name} version ${version}`,
        onUndo: () => {
          said = before;
          one.setJudgement(before, hit.label);
        },
      });
    };
    const one = card(hit, {
      score: fixed(hit.score, 3),
      judgement: said,
      extra: h("span", { class: "badge" }, speciesName(hit.label)),
      onSelect: () => current(index),
      onJudge: (_, judgement) => act(judgement),
      onSimilar: () => navigate(similarHref(hit)),
    });
    one.judge = (judgement) => act(judgement);
    cards.push(one);
    grid.append(one.el);
  }

  function current(next, focus = false) {
    if (!cards[next]) return;
    cards[at]?.setCurrent(false);
    at = next;
    cards[at].setCurrent(true, { focus });
    if (focus) cards[at].el.scrollIntoView({ block: "nearest" });
  }

  /** How many cards stand beside each other. */
  function columns() {
    const top = cards[0]?.el.offsetTop;
    const below = cards.findIndex((one) => one.el.offsetTop > top);
    return below < 0 ? Math.max(cards.length, 1) : below;
  }

  function judgeAt(judgement) {
    if (at < 0) return false;
    cards[at].judge(judgement);
    current(Math.min(at + 1, cards.length - 1), true);
    return true;
  }
  const go = (by) => current(Math.max(0, Math.min(cards.length - 1, at < 0 ? 0 : at + by)), true);
  const offKeys = keys.register("Hits", [
    { keys: ["ArrowRight", "j"], label: "Next hit", run: () => go(1) },
    { keys: ["ArrowLeft", "k"], label: "Hit before", run: () => go(-1) },
    { keys: ["ArrowDown"], label: "Hit below", run: () => go(columns()) },
    { keys: ["ArrowUp"], label: "Hit above", run: () => go(-columns()) },
    {
      keys: ["Space"],
      label: "Play or stop",
      when: () => at >= 0,
      run: () => cards[at].toggle().catch((error) => toastError(error)),
    },
    { keys: ["y"], label: "Yes, it is there", run: () => judgeAt("positive") },
    { keys: ["n"], label: "No, it is not", run: () => judgeAt("negative") },
    { keys: ["u"], label: "Unsure", run: () => judgeAt("uncertain") },
    { keys: ["z", "Ctrl+z"], label: "Take the last judgement back", run: undoLast },
    { keys: ["m"], label: "Find more like this", when: () => at >= 0, run: () => navigate(similarHref(cards[at].hit)) },
  ]);
  more();
  return {
    element,
    destroy() {
      offKeys();
      stop.abort();
      for (const one of cards) one.destroy();
    },
  };
}

/** What is said where a probe has no scores yet. */
export const notApplied = (onApply) =>
  empty({
    icon: "probe",
    title: "Not applied yet",
    text: "The probe has not listened to the archive. Applying it scores every window once; later it only does what is new.",
    action: h(
      "button",
      { class: "btn btn--primary", type: "button", onclick: onApply },
      icon("play"),
      "Apply to the archive",
    ),
  });

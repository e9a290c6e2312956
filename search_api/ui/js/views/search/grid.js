/** The hits as a grid of cards: one is chosen, arrows move it. Cards off the screen cost nothing (content-visibility, lazy pictures). */
import { card } from "../../components/card.js";
import { windowClip } from "../../components/listen.js";
import { player } from "../../components/player.js";
import { h, replace } from "../../core/dom.js";

const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");

/**
 * @param {{onSelect: (hit: any, index: number) => void, onJudge: (hit: any, judgement: string) => void, onTick: (hit: any, on: boolean) => void, onSimilar: (hit: any) => void}} options
 */
export function hitGrid({ onSelect, onJudge, onTick, onSimilar }) {
  const el = h("div", { class: "grid", role: "feed", "aria-label": "Hits" });
  let cards = [];
  let at = -1;

  function select(index, { focus = false, scroll = true, quiet = false } = {}) {
    if (!cards.length) return;
    const next = Math.max(0, Math.min(cards.length - 1, index));
    if (next !== at) {
      cards[at]?.setCurrent(false);
      at = next;
    }
    cards[at].setCurrent(true, { focus });
    if (scroll) cards[at].el.scrollIntoView({ block: "nearest", behavior: STILL.matches ? "auto" : "smooth" });
    const after = cards[at + 1];
    if (after && focus) player.preload(windowClip(after.hit).src);
    if (!quiet) onSelect(cards[at].hit, at);
  }

  const columns = () => Math.max(1, getComputedStyle(el).gridTemplateColumns.split(" ").length);

  return {
    el,
    /** @param {any[]} hits @param {{judgementOf: (hit: any) => string|null, label: string, ticked: Set<string>, selected: string|null}} about */
    show(hits, { judgementOf, label, ticked, selected }) {
      for (const one of cards) one.destroy();
      cards = hits.map((hit, index) => {
        const made = card(hit, {
          onJudge: (_, judgement) => {
            select(index, { scroll: false });
            onJudge(hit, judgement);
          },
          onTick,
          onSimilar,
          ticked: ticked.has(hit.window_id),
          index: index + 1,
          total: hits.length,
          onSelect: () => select(index, { scroll: false, focus: false }),
        });
        made.setJudgement(judgementOf(hit), label);
        return made;
      });
      replace(
        el,
        cards.map((one) => one.el),
      );
      at = -1;
      const wanted = cards.findIndex((one) => one.hit.window_id === selected);
      if (cards.length) select(Math.max(0, wanted), { scroll: wanted > 0, quiet: wanted < 0 });
    },
    select,
    /** Move by cards, or by rows. */
    move: (step, rows = false) => select(at + step * (rows ? columns() : 1), { focus: true }),
    get current() {
      return cards[at] || null;
    },
    get index() {
      return at;
    },
    get size() {
      return cards.length;
    },
    of: (id) => cards.find((one) => one.hit.window_id === id) || null,
    redraw(judgementOf, label) {
      for (const one of cards) one.setJudgement(judgementOf(one.hit), label);
    },
    destroy() {
      for (const one of cards) one.destroy();
      cards = [];
    },
  };
}

/** At the foot of a phone's screen: what the keys do elsewhere, for the thumb. */
import { judgeButtons } from "../../components/card.js";
import { h } from "../../core/dom.js";
import { icon } from "../../core/icons.js";

/** @param {{onJudge: (judgement: string) => void, onMove: (step: number) => void, onPlay: () => void, onLabel: () => void}} options */
export function judgeBar({ onJudge, onMove, onPlay, onLabel }) {
  const judge = judgeButtons({ onJudge });
  const button = (name, label, run) =>
    h("button", { class: "iconbtn", type: "button", "aria-label": label, onclick: run }, icon(name, { size: 22 }));
  const label = h("button", { class: "judgebar__label", type: "button", onclick: onLabel });
  const el = h(
    "div",
    { class: "judgebar", role: "toolbar", "aria-label": "Judge the chosen card", hidden: true },
    label,
    button("left", "Previous card", () => onMove(-1)),
    button("play", "Play or stop", onPlay),
    judge.el,
    button("right", "Next card", () => onMove(1)),
  );
  return {
    el,
    set: (judgement) => judge.set(judgement),
    setLabel: (text) => {
      label.textContent = text || "What is judged? Tap to say";
    },
    show: (on) => {
      el.hidden = !on;
    },
  };
}

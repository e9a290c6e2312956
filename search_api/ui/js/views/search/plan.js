/** How an answer was found, in one line that a person can read. */
import { count, offset, percent, plural, took } from "../../core/format.js";

const HOW = {
  exact: "every window compared exactly",
  codes: "all windows by code, the best exactly",
  lists: "likeliest clusters by code, the best exactly",
  gpu: "every window compared on the GPU",
  nothing: "nothing to compare",
};

/** @param {any} plan @param {{start_s: number, end_s: number}[]} [asked]  the windows of a clip that were compared */
export function planLine(plan, asked = []) {
  const parts = [HOW[plan.how] || plan.how];
  parts.push(
    plan.eligible === plan.windows
      ? `${count(plan.windows)} windows`
      : `${count(plan.eligible)} of ${count(plan.windows)} windows`,
  );
  if (plan.recall < 1 && plan.how !== "exact") parts.push(`recall ${percent(plan.recall, 1)}`);
  if (plan.fresh) parts.push(`${count(plan.fresh)} newer than the index`);
  parts.push(took(plan.took_ms ?? 0));
  // A model hears whole windows: of a short region, what was compared reaches beyond it, and people should know.
  if (asked.length === 1) parts.push(`with ${offset(asked[0].start_s)} – ${offset(asked[0].end_s)} of the sound`);
  else if (asked.length) parts.push(`with ${plural(asked.length, "window")} of the sound`);
  return parts.join(" · ");
}

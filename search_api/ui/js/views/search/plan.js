/** How an answer was found, in one line that a person can read. */
import { count, percent, took } from "../../core/format.js";

const HOW = {
  exact: "every window compared exactly",
  codes: "all windows by code, the best exactly",
  lists: "likeliest clusters by code, the best exactly",
  gpu: "every window compared on the GPU",
  nothing: "nothing to compare",
};

/** @param {any} plan @param {number} [roundTripMs] */
export function planLine(plan, roundTripMs) {
  const parts = [HOW[plan.how] || plan.how];
  parts.push(
    plan.eligible === plan.windows
      ? `${count(plan.windows)} windows`
      : `${count(plan.eligible)} of ${count(plan.windows)} windows`,
  );
  if (plan.recall < 1 && plan.how !== "exact") parts.push(`recall ${percent(plan.recall, 1)}`);
  if (plan.fresh) parts.push(`${count(plan.fresh)} newer than the index`);
  parts.push(took(plan.took_ms ?? roundTripMs ?? 0));
  return parts.join(" · ");
}

/** What a place shows while it has nothing to show: waiting, empty, or in error. All take the final size, so nothing jumps. */
import { h } from "../core/dom.js";
import { icon } from "../core/icons.js";

/** Nothing here, and what to do about it. @param {{icon?: any, title: string, text?: any, action?: any}} about */
export function empty({ icon: name = "wave", title, text, action }) {
  return h(
    "div",
    { class: "empty" },
    h("div", { class: "empty__icon" }, icon(name, { size: 28 })),
    h("h3", null, title),
    text && h("p", null, text),
    action,
  );
}

/** An error with its message and a way on. @param {any} error @param {() => void} [retry] */
export function errorState(error, retry) {
  const titles = {
    not_found: "Not found",
    away: "The service does not answer",
    unauthorized: "A key is needed",
    forbidden: "This key may not do that",
    overloaded: "The service is busy",
    rate_limited: "Too many requests",
  };
  return h(
    "div",
    { class: "empty empty--error", role: "alert" },
    h("div", { class: "empty__icon" }, icon("warn", { size: 28 })),
    h("h3", null, titles[error.kind] || "That did not work"),
    h("p", null, error.message),
    error.fields?.length
      ? h(
          "ul",
          { class: "empty__fields" },
          error.fields.map((f) => h("li", null, `${f.where}: ${f.message}`)),
        )
      : null,
    error.requestId && h("p", { class: "muted small" }, `request ${error.requestId}`),
    retry && h("button", { class: "btn", type: "button", onclick: retry }, icon("reload"), "Try again"),
  );
}

/** A grey block of a given size. @param {{height?: string, width?: string, ratio?: string}} size */
export const skeleton = ({ height, width, ratio } = {}) =>
  h("div", { class: "skeleton", "aria-hidden": "true", style: { height, width, aspectRatio: ratio } });

/** Waiting, said to screen readers. */
export const loading = (text = "Loading", ...shapes) =>
  h(
    "div",
    { class: "loading", role: "status" },
    h("span", { class: "visually-hidden" }, text),
    shapes.length ? shapes : skeleton({ height: "8rem" }),
  );

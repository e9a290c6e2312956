/** Short messages at the edge of the page. An error stays until it is closed. */
import { announce, h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {string} message
 * @param {{kind?: "info"|"good"|"error", action?: {label: string, run: () => any}, timeout?: number}} [options]  `timeout` in ms, 0: stays
 * @returns {{close: () => void}}
 */
export function toast(message, { kind = "info", action, timeout = kind === "error" ? 0 : 4500 } = {}) {
  const box = document.getElementById("toasts");
  let timer = 0;
  const close = () => {
    clearTimeout(timer);
    element.remove();
  };
  const element = h(
    "div",
    { class: ["toast", `toast--${kind}`], role: kind === "error" ? "alert" : null },
    h("span", { class: "toast__text" }, message),
    action &&
      h(
        "button",
        {
          class: "btn btn--small btn--quiet",
          type: "button",
          onclick: () => {
            close();
            action.run();
          },
        },
        action.label,
      ),
    h(
      "button",
      { class: "iconbtn iconbtn--small", type: "button", "aria-label": "Close the message", onclick: close },
      icon("close", { size: 14 }),
    ),
  );
  while (box.children.length >= 4) box.firstElementChild.remove();
  box.append(element);
  if (kind !== "error") announce(message);
  if (timeout) timer = setTimeout(close, timeout);
  return { close };
}

/** Show an error of the API, unless it only says that nobody waits any more. */
export function toastError(error, what = "") {
  if (error?.kind === "aborted") return;
  toast(what ? `${what}: ${error.message}` : error.message, { kind: "error" });
}

/** Dialogs on the browser's own <dialog>: it keeps the focus inside, closes on Escape and gives the focus back. */
import { h, uid } from "../core/dom.js";
import { icon } from "../core/icons.js";

/**
 * @param {{title: string, body: any, actions?: any, wide?: boolean, onClose?: () => void, class?: string}} options
 * @returns {{el: HTMLDialogElement, close: () => void}}
 */
export function dialog({ title, body, actions, wide = false, onClose, class: extra = "" }) {
  const id = uid("dialog");
  const close = () => el.close();
  const el = h(
    "dialog",
    { class: ["dialog", wide && "dialog--wide", extra], "aria-labelledby": id },
    h(
      "div",
      { class: "dialog__head" },
      h("h2", { id }, title),
      h("button", { class: "iconbtn", type: "button", "aria-label": "Close", onclick: close }, icon("close")),
    ),
    h("div", { class: "dialog__body" }, body),
    actions && h("div", { class: "dialog__foot" }, actions),
  );
  el.addEventListener("click", (event) => event.target === el && close());
  el.addEventListener("close", () => {
    el.remove();
    onClose?.();
  });
  document.body.append(el);
  el.showModal();
  return { el, close };
}

/**
 * Ask before something that cannot be taken back.
 * @param {{title: string, message: any, confirm: string, danger?: boolean}} options
 * @returns {Promise<boolean>}
 */
export function confirm({ title, message, confirm: word, danger = false }) {
  return new Promise((done) => {
    let answer = false;
    const yes = h(
      "button",
      {
        class: ["btn", danger ? "btn--danger" : "btn--primary"],
        type: "button",
        onclick: () => {
          answer = true;
          shown.close();
        },
      },
      word,
    );
    const no = h("button", { class: "btn", type: "button", onclick: () => shown.close() }, "Cancel");
    const shown = dialog({ title, body: h("p", null, message), actions: [no, yes], onClose: () => done(answer) });
    yes.focus();
  });
}

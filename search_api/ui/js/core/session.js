/** A key, where the service asks for one: it is exchanged for a cookie that scripts cannot read, and kept nowhere else. */
import { dialog } from "../components/dialog.js";
import { api } from "./api.js";
import { h, uid } from "./dom.js";

let open = false;

/** Ask for a key until one is accepted. @param {() => void} onDone */
export function askForKey(onDone) {
  if (open) return;
  open = true;
  const id = uid("key");
  const input = h("input", {
    class: "input",
    id,
    type: "password",
    autocomplete: "current-password",
    required: true,
    "aria-describedby": `${id}-wrong`,
  });
  const wrong = h("p", { class: "field__error", id: `${id}-wrong`, role: "alert" });
  const form = h(
    "form",
    { class: "field", onsubmit: send },
    h("label", { class: "field__label", for: id }, "Key"),
    input,
    wrong,
    h("button", { class: "btn btn--primary", type: "submit" }, "Continue"),
  );
  const shown = dialog({
    title: "This archive asks for a key",
    body: form,
    onClose: () => {
      open = false;
    },
  });
  async function send(event) {
    event.preventDefault();
    try {
      await api.post("session", { key: input.value });
      shown.close();
      onDone();
    } catch (error) {
      wrong.textContent = error.message;
      input.select();
    }
  }
}

/** A text field with suggestions (the combobox pattern): any text may be typed, suggestions are found as one types. */
import { debounce, h, uid } from "../core/dom.js";

/**
 * @param {{label: string, value?: string, placeholder?: string, hint?: string, find: (q: string, signal: AbortSignal) => Promise<{value: string, text: any, aside?: any}[]>,
 *   onChoose: (value: string) => void, hideLabel?: boolean, id?: string, display?: (value: string) => string}} options  `onChoose` is called with a suggestion, or what was typed and confirmed
 * @returns {{el: HTMLElement, input: HTMLInputElement, set: (value: string) => void, destroy: () => void}}
 */
export function combo(options) {
  const id = options.id || uid("combo");
  let shown = [];
  let at = -1;
  let stop = new AbortController();
  let chosen = options.value || "";
  const display = options.display || ((value) => value);

  const list = h("ul", {
    class: "combo__list",
    role: "listbox",
    id: `${id}-list`,
    "aria-label": options.label,
    hidden: true,
  });
  const input = h("input", {
    class: "input",
    id,
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    value: display(chosen),
    placeholder: options.placeholder,
    "aria-expanded": "false",
    "aria-controls": `${id}-list`,
    "aria-autocomplete": "list",
    oninput: () => find(),
    onkeydown: onKey,
    onfocus: () => {
      input.select();
      find();
    },
    onblur: () => setTimeout(close, 120),
    // On leaving the field; a letter or two is a key that went astray, not a label.
    onchange: () => (at < 0 && (typed() === "" || typed().length > 2) ? choose(typed()) : undefined),
  });
  const el = h(
    "div",
    { class: "field" },
    h("label", { class: ["field__label", options.hideLabel && "visually-hidden"], for: id }, options.label),
    h("div", { class: "combo" }, input, list),
    options.hint && h("span", { class: "field__hint" }, options.hint),
  );

  const find = debounce(async () => {
    stop.abort();
    stop = new AbortController();
    const { signal } = stop;
    try {
      const found = await options.find(input.value.trim() === display(chosen) ? "" : input.value.trim(), signal);
      if (!signal.aborted && document.activeElement === input) open(found);
    } catch (error) {
      if (!signal.aborted) close(); // suggestions are a help: the field works without them
    }
  }, 110);

  function open(found) {
    shown = found.slice(0, 30);
    at = -1;
    list.replaceChildren(
      ...shown.map((one, index) =>
        h(
          "li",
          {
            class: "combo__item",
            role: "option",
            id: `${id}-${index}`,
            "aria-selected": "false",
            onpointerdown: (event) => {
              event.preventDefault();
              choose(one.value);
            },
          },
          one.aside,
          one.text,
        ),
      ),
    );
    list.hidden = !shown.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    input.removeAttribute("aria-activedescendant");
  }

  function close() {
    find.cancel();
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function move(step) {
    if (list.hidden) return find();
    at = (at + step + shown.length) % shown.length;
    [...list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === at)));
    input.setAttribute("aria-activedescendant", `${id}-${at}`);
    list.children[at].scrollIntoView({ block: "nearest" });
    return undefined;
  }

  /** What the text means: the label that it stands for, or the text itself. */
  function typed() {
    const text = input.value.trim();
    if (text === display(chosen)) return chosen;
    return shown.find((one) => display(one.value).toLowerCase() === text.toLowerCase())?.value ?? text;
  }

  function choose(value) {
    input.value = display(value);
    close();
    if (value === chosen) return;
    chosen = value;
    options.onChoose(value);
  }

  function onKey(event) {
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(at < 0 ? 0 : -1);
    else if (event.key === "Enter") choose(at >= 0 ? shown[at].value : typed());
    else if (event.key === "Escape") {
      if (list.hidden) input.blur();
      else close();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    el,
    input,
    set(value) {
      chosen = value || "";
      if (document.activeElement !== input || input.value.trim() === "") input.value = display(chosen);
    },
    destroy() {
      stop.abort();
      find.cancel();
    },
  };
}

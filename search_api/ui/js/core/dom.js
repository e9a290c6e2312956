/** Elements made by functions. Text is always text: nothing here parses HTML, so data cannot become markup. */

const SVG = "http://www.w3.org/2000/svg";
let lastId = 0;

/** @typedef {Node|string|number|null|undefined|false|Array<any>} Child */

/**
 * Make an HTML element.
 * Props: `class`, `dataset`, `style` (an object; names may be `--variables`), `ref` (called with the element), `on…` functions
 * (`onclick`), properties that are no attributes (`value`, `checked`, `disabled`, `hidden`, `indeterminate`); all others are
 * attributes; `null`, `undefined` and `false` leave one out, `true` sets it empty (of `aria-…`: "true" and "false").
 * @param {string} tag
 * @param {Record<string, any>|null} [props]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  apply(element, props || {});
  append(element, children);
  return element;
}

/** Make an SVG element; as `h`. @returns {any} */
export function svg(tag, props, ...children) {
  const element = document.createElementNS(SVG, tag);
  apply(element, props || {});
  append(element, children);
  return element;
}

const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "hidden",
  "indeterminate",
  "selected",
  "open",
  "textContent",
  "htmlFor",
]);

/** @param {any} element @param {Record<string, any>} props */
function apply(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (name === "ref") value(element);
    else if (name === "class") {
      if (value) element.setAttribute("class", Array.isArray(value) ? value.filter(Boolean).join(" ") : value);
    } else if (name === "dataset") {
      for (const [key, text] of Object.entries(value))
        if (text !== null && text !== undefined) element.dataset[key] = String(text);
    } else if (name === "style") setStyle(element, value);
    else if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name) && name in element) element[name] = value ?? (name === "value" ? "" : false);
    else setAttribute(element, name, value);
  }
}

/** Set or, for null, undefined and false, remove an attribute. `aria-…` keeps "false". */
export function setAttribute(element, name, value) {
  if (name.startsWith("aria-") && typeof value === "boolean") element.setAttribute(name, String(value));
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Set style properties one by one (the content policy allows this, and no style attribute). */
export function setStyle(element, style) {
  for (const [name, value] of Object.entries(style || {})) {
    if (value === null || value === undefined) element.style.removeProperty(name);
    else
      element.style.setProperty(
        name.startsWith("--") ? name : name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`),
        String(value),
      );
  }
}

/** Append children; arrays are flattened, null, undefined and false are left out. */
export function append(parent, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return parent;
}

/** Replace everything in an element. */
export function replace(parent, ...children) {
  const fragment = document.createDocumentFragment();
  append(fragment, children);
  parent.replaceChildren(fragment);
  return parent;
}

/** An id that is used once on the page, as for `aria-labelledby`. */
export function uid(prefix = "id") {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

let said = 0;

/** Say something to screen readers. */
export function announce(text) {
  const live = document.getElementById("live");
  if (!live) return;
  said += 1;
  const now = said;
  live.textContent = "";
  // A pause, so that the same text twice is spoken twice.
  setTimeout(() => {
    if (now === said) live.textContent = text;
  }, 60);
}

/** Call `func` only when `wait` milliseconds have passed without another call. */
export function debounce(func, wait) {
  let timer = 0;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => func(...args), wait);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

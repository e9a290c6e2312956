/** Pieces that the views of the archive, the probes and the jobs share. */
import { h, replace } from "../core/dom.js";
import { errorState, loading, skeleton } from "../components/empty.js";

/**
 * A part of a view that is filled by a question to the service. It keeps its height while it waits, so nothing below jumps;
 * a newer question makes an older answer void.
 * @param {{class?: string, height?: string, what?: string, load: (signal: AbortSignal) => Promise<any>, render: (answer: any) => any, signal: AbortSignal}} options
 * @returns {{element: HTMLElement, reload: () => Promise<void>}}
 */
export function zone({ class: extra, height = "8rem", what = "Loading", load, render, signal }) {
  const element = h("div", { class: ["zone", extra], "aria-busy": "true" }, loading(what, skeleton({ height })));
  let stop = new AbortController();
  let filled = false;

  async function reload() {
    stop.abort();
    stop = new AbortController();
    const mine = stop;
    element.setAttribute("aria-busy", "true");
    if (filled) element.classList.add("is-stale");
    else replace(element, loading(what, skeleton({ height })));
    try {
      const answer = await load(AbortSignal.any([signal, mine.signal]));
      if (mine !== stop || signal.aborted) return;
      replace(element, render(answer));
      filled = true;
    } catch (error) {
      if (mine !== stop || signal.aborted || error.kind === "aborted") return;
      filled = false;
      replace(element, errorState(error, reload));
    }
    element.classList.remove("is-stale");
    element.setAttribute("aria-busy", "false");
  }
  return { element, reload };
}

/** A titled block of a view. @param {string} title @param {{note?: any, tools?: any, class?: string, id?: string, flush?: boolean}} about  flush: what is in it reaches its edges */
export function block(title, { note, tools, class: extra, id, flush = false } = {}, ...children) {
  return h(
    "section",
    { class: ["panel", extra], id, "aria-label": title },
    h(
      "div",
      { class: "panel__head" },
      h("h2", null, title),
      note && h("span", { class: "muted small panel-note" }, note),
      tools,
    ),
    h("div", { class: flush ? "panel-flush" : "panel__body" }, children),
  );
}

/**
 * A choice of one among few, as buttons in a row.
 * @param {{label: string, options: [string, string][], value: string, onChange: (value: string) => void}} about
 */
export function segmented({ label, options, value, onChange }) {
  const buttons = options.map(([key, text]) =>
    h(
      "button",
      { type: "button", class: "seg__item", role: "radio", dataset: { key }, onclick: () => choose(key, false) },
      text,
    ),
  );
  const element = h(
    "div",
    {
      class: "seg",
      role: "radiogroup",
      "aria-label": label,
      onkeydown: (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        const at = options.findIndex(([key]) => key === value);
        choose(options[(at + step + options.length) % options.length][0], true);
      },
    },
    buttons,
  );
  function choose(next, focus) {
    set(next);
    if (focus) buttons.find((b) => b.dataset.key === next)?.focus();
    onChange(next);
  }
  function set(next) {
    value = next;
    for (const button of buttons) {
      button.setAttribute("aria-checked", String(button.dataset.key === next));
      button.tabIndex = button.dataset.key === next ? 0 : -1;
    }
  }
  set(value);
  return Object.assign(element, { set });
}

/** The heading of a column that sorts. @param {{text: string, key: string, sort: string, numeric?: boolean, onSort: (sort: string) => void}} about  sort: "key" falls, "-key" rises */
export function sortHead({ text, key, sort, numeric = false, onSort }) {
  const state = sort === key ? "descending" : sort === `-${key}` ? "ascending" : null;
  return h(
    "th",
    { scope: "col", class: numeric ? "num" : null, "aria-sort": state ?? "none" },
    h(
      "button",
      { class: "sort", type: "button", onclick: () => onSort(sort === key ? `-${key}` : key) },
      text,
      h(
        "span",
        { class: "sort-mark", "aria-hidden": "true" },
        state === "descending" ? "▾" : state === "ascending" ? "▴" : "",
      ),
    ),
  );
}

/** Rows in the order that a heading asks for; what is not known comes last either way. */
export function sorted(rows, sort, value = (row, key) => row[key]) {
  const rising = sort.startsWith("-");
  const key = rising ? sort.slice(1) : sort;
  return rows.toSorted((a, b) => {
    const [x, y] = [value(a, key), value(b, key)];
    if (x === y) return 0;
    if (x === null || x === undefined) return 1;
    if (y === null || y === undefined) return -1;
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return rising ? order : -order;
  });
}

/** The line of the error of a form, beside its button. */
export const formError = (error) =>
  h(
    "p",
    { class: "form-error", role: "alert" },
    error.message,
    error.fields?.length
      ? h(
          "ul",
          null,
          error.fields.map((f) => h("li", null, `${f.where}: ${f.message}`)),
        )
      : null,
  );

/**
 * A heat map of local dates (across) and hours of the day (downwards). What was not recorded is hatched, never shown as zero.
 * One canvas, so that years of days stay quick; the keyboard moves over it like the mouse does.
 */
import { announce, h } from "../../core/dom.js";
import { columnsOf, rangeOf } from "./calendar.js";
import { colourOf, drawAxes, hatched, rgb } from "./heat_paint.js";

const GUTTER = 46;
const FOOT = 24;
const HOURS = 24;
// Of the keys: by columns, by hours.
const MOVES = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  Home: [-1e6, 0],
  End: [1e6, 0],
  PageUp: [-7, 0],
  PageDown: [7, 0],
};

/**
 * @typedef {{date_from: string, date_to: string, hour_from: number, hour_to: number}} Range  hours half-open, dates both in it
 * @param {object} options
 * @param {string} options.label  for screen readers
 * @param {string[]} options.dates  with recordings
 * @param {(date: string, hour: number) => number|null} options.value  null: not recorded
 * @param {number} options.max  value with the strongest colour
 * @param {string} options.ramp  class of the colours: "effort" or "activity"
 * @param {(date: string, hour: number, value: number|null) => string} options.describe
 * @param {(date: string, hour: number) => boolean} [options.chosen]  whether a cell is in the selection; without it all are
 * @param {boolean} [options.narrowed]  whether there is a selection
 * @param {(range: Range|null) => void} [options.onSelect]
 * @param {(x: number) => string} [options.legend]  words at the legend's ends
 */
export function heatmap(options) {
  const columns = columnsOf(options.dates);
  const canvas = h("canvas", { class: "heat-canvas", "aria-hidden": "true" });
  const tip = h("div", { class: "heat-tip", hidden: true });
  const inks = Object.fromEntries(
    ["hatch", "ink", "accent"].map((name) => [name, h("i", { class: `heat-ink heat-ink-${name}`, hidden: true })]),
  );
  const pad = h("div", { class: "heat-pad" }, canvas, tip, Object.values(inks));
  const frame = h(
    "div",
    {
      class: "heat-frame",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "heat map",
      "aria-label": `${options.label}. Arrow keys move by hour and date, shift extends, Enter filters, Escape clears.`,
      onkeydown: onKey,
    },
    pad,
  );
  const swatches = [0, 1, 2, 3, 4, 5].map((n) => h("i", { class: `heat-swatch heat-${options.ramp}-${n}` }));
  const ends = h("span", { class: "heat-end" });
  const element = h(
    "div",
    { class: "heat-map" },
    frame,
    h(
      "div",
      { class: "heat-legend" },
      h("span", { class: "heat-none" }),
      h("span", null, "not recorded"),
      h("span", { class: "heat-ramp", "aria-hidden": "true" }, swatches),
      ends,
    ),
  );
  let cellW = 8;
  let cellH = 9;
  let drag = null;
  let cursor = null;
  let anchor = null;
  let shown = options;
  let colours = [];
  let other = {};

  const resize = new ResizeObserver(() => draw());
  resize.observe(frame);
  const themed = new MutationObserver(() => draw());
  themed.observe(document.documentElement, { attributes: true });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", draw);

  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
  });
  canvas.addEventListener("pointerdown", onDown);
  canvas.addEventListener("pointerup", onUp);
  canvas.addEventListener("pointercancel", () => {
    drag = null;
    draw();
  });
  frame.addEventListener("blur", () => {
    cursor = null;
    tip.hidden = true;
    draw();
  });

  function sizes() {
    const room = frame.clientWidth - GUTTER - 2;
    const widest = columns.length <= 8 ? 72 : columns.length <= 31 ? 44 : 30;
    cellW = Math.max(3, Math.min(widest, room / Math.max(columns.length, 1)));
    cellH = frame.clientWidth < 500 ? 8 : 9;
  }

  function draw() {
    if (!frame.isConnected) return;
    sizes();
    colours = swatches.map((swatch) => rgb(getComputedStyle(swatch).backgroundColor));
    other = Object.fromEntries(Object.entries(inks).map(([name, ink]) => [name, getComputedStyle(ink).color]));
    const width = GUTTER + columns.length * cellW + 2;
    const height = HOURS * cellH + FOOT;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    cells(pen);
    drawAxes(pen, {
      columns,
      cellW,
      cellH,
      edge,
      gutter: GUTTER,
      width,
      font: getComputedStyle(frame).fontFamily,
      ink: other.ink,
    });
    outline(pen);
    ends.textContent = shown.legend ? shown.legend(shown.max) : "";
  }

  /** The left side of a column, on a whole pixel so that cells stay sharp. */
  const edge = (c) => GUTTER + Math.round(c * cellW);

  function cells(pen) {
    const hatch = hatched(pen, other.hatch);
    const gap = cellW >= 6 ? 1 : 0;
    columns.forEach((column, c) => {
      if (!column) return;
      const x = edge(c);
      const width = edge(c + 1) - x - gap;
      for (let hour = 0; hour < HOURS; hour += 1) {
        const value = column.known ? shown.value(column.date, hour) : null;
        pen.fillStyle = value === null ? hatch : colourOf(value, shown.max, colours);
        pen.globalAlpha = !shown.narrowed || shown.chosen(column.date, hour) ? 1 : 0.28;
        pen.fillRect(x, hour * cellH, width, cellH - 1);
      }
    });
    pen.globalAlpha = 1;
  }

  function outline(pen) {
    const box = (range, dashed) => {
      const spots = columns
        .map((c, i) => (c && c.date >= range.date_from && c.date <= range.date_to ? i : -1))
        .filter((i) => i >= 0);
      if (!spots.length) return;
      pen.strokeStyle = other.accent;
      pen.lineWidth = 2;
      pen.setLineDash(dashed ? [4, 3] : []);
      pen.strokeRect(
        edge(spots[0]) - 1,
        range.hour_from * cellH - 0.5,
        edge(spots.at(-1) + 1) - edge(spots[0]) + 1,
        (range.hour_to - range.hour_from) * cellH,
      );
      pen.setLineDash([]);
    };
    if (drag) box(rangeOf(columns, drag.from, drag.to), true);
    if (cursor) box(rangeOf(columns, anchor || cursor, cursor), Boolean(anchor));
  }

  /** The cell at a pointer; beside the hours it means a whole row, below the dates a whole column. */
  function cellAt(event) {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left - GUTTER;
    const y = event.clientY - box.top;
    const c = Math.max(0, Math.min(columns.length - 1, Math.floor(x / cellW)));
    const hour = Math.max(0, Math.min(HOURS - 1, Math.floor(y / cellH)));
    return { c, hour, row: x < 0, column: y >= HOURS * cellH, outside: x > columns.length * cellW + 4 };
  }

  function onMove(event) {
    const at = cellAt(event);
    if (drag) {
      drag.to = at;
      draw();
    }
    const column = columns[at.c];
    if (!column || at.outside || at.row || at.column) {
      tip.hidden = true;
      return;
    }
    showTip(at.c, at.hour, column);
  }

  function showTip(c, hour, column) {
    const value = column.known ? shown.value(column.date, hour) : null;
    tip.textContent = shown.describe(column.date, hour, value);
    tip.hidden = false;
    const x = GUTTER + c * cellW + cellW / 2;
    const width = tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(x - width / 2, canvas.clientWidth - width))}px`;
    const above = hour * cellH - tip.offsetHeight - 6;
    tip.style.top = `${above < 0 ? hour * cellH + cellH + 6 : above}px`;
  }

  function onDown(event) {
    if (event.button || !columns.length || !shown.onSelect) return;
    const at = cellAt(event);
    if (at.outside) return;
    drag = { from: at, to: at };
    if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
    draw();
  }

  function onUp() {
    if (!drag) return;
    const range = rangeOf(columns, drag.from, drag.to);
    drag = null;
    draw();
    if (range.date_from) shown.onSelect(range);
  }

  function onKey(event) {
    const move = MOVES[event.key];
    if (!columns.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (move) {
      event.preventDefault();
      event.stopPropagation();
      if (!cursor) cursor = { c: 0, hour: 0 };
      else {
        anchor = event.shiftKey ? anchor || cursor : null;
        let c = Math.max(0, Math.min(columns.length - 1, cursor.c + move[0]));
        while (!columns[c]) c += Math.sign(move[0]) || 1;
        cursor = { c, hour: Math.max(0, Math.min(HOURS - 1, cursor.hour + move[1])) };
      }
      reveal();
      draw();
      const column = columns[cursor.c];
      showTip(cursor.c, cursor.hour, column);
      announce(tip.textContent);
    } else if ((event.key === "Enter" || event.key === " ") && cursor && shown.onSelect) {
      event.preventDefault();
      event.stopPropagation();
      shown.onSelect(rangeOf(columns, anchor || cursor, cursor));
    } else if (event.key === "Escape" && (cursor || shown.narrowed)) {
      event.stopPropagation();
      cursor = anchor = null;
      tip.hidden = true;
      shown.onSelect?.(null);
      draw();
    }
  }

  /** So far sideways that the cursor is seen. */
  function reveal() {
    const x = GUTTER + cursor.c * cellW;
    if (x - GUTTER < frame.scrollLeft) frame.scrollLeft = x - GUTTER;
    else if (x + cellW > frame.scrollLeft + frame.clientWidth) frame.scrollLeft = x + cellW - frame.clientWidth;
  }

  return {
    element,
    /** Show other values or another selection of the same dates. */
    update(changes) {
      shown = { ...shown, ...changes };
      draw();
    },
    destroy() {
      resize.disconnect();
      themed.disconnect();
      dark.removeEventListener("change", draw);
    },
  };
}

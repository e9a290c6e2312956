/** How a heat map is painted. */
import { ticksOf } from "./calendar.js";

const HOURS = 24;

/** A pattern of thin slanted lines: not recorded. */
export function hatched(pen, colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const small = tile.getContext("2d");
  small.strokeStyle = colour;
  small.lineWidth = 1.2;
  small.beginPath();
  for (const shift of [-8, 0, 8]) {
    small.moveTo(shift, 8);
    small.lineTo(shift + 8, 0);
  }
  small.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  return pattern;
}

/** Parts from 0 to 255 of a computed colour: "rgb(…)", or "color(srgb …)" where it was mixed. */
export function rgb(text) {
  const parts = (text.match(/[\d.]+(?:e-?\d+)?/g) || [0, 0, 0]).slice(0, 3).map(Number);
  return text.startsWith("color(") ? parts.map((part) => 255 * part) : parts;
}

const css = (parts) => `rgb(${parts.map((part) => Math.round(part)).join(" ")})`;

/**
 * The colour of a value; by its square root, so that few among many are seen.
 * @param {number} value @param {number} max @param {number[][]} colours  the first is of zero
 */
export function colourOf(value, max, colours) {
  if (value <= 0) return css(colours[0]);
  const share = Math.min(1, Math.sqrt(value / (max || 1)));
  const at = 1 + share * (colours.length - 2);
  const low = Math.min(Math.floor(at), colours.length - 2);
  return css(colours[low].map((part, i) => part + (colours[low + 1][i] - part) * (at - low)));
}

/** Hours at the left, dates below. */
export function drawAxes(pen, { columns, cellW, cellH, edge, gutter, width, font, ink }) {
  pen.font = `11px ${font}`;
  pen.fillStyle = ink;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const hour of [0, 6, 12, 18])
    pen.fillText(`${String(hour).padStart(2, "0")}:00`, gutter - 8, Math.max(6, hour * cellH + cellH / 2));
  pen.textAlign = "left";
  pen.textBaseline = "top";
  const y = HOURS * cellH;
  for (const tick of ticksOf(columns, cellW)) {
    const x = edge(tick.at);
    if (x + pen.measureText(tick.text).width > width + 1 && tick.at > 0) continue;
    pen.fillRect(x, y + 1, 1, 4);
    pen.fillText(tick.text, x, y + 8);
  }
}

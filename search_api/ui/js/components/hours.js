/** Hours of the day on the site's clock: two handles on a day's strip; from later than to means past midnight. */
import { h, uid } from "../core/dom.js";

const STEP_MIN = 30;
const clock = (minutes) =>
  `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;

/** "22:00-04:30" → minutes of the day; null for anything else. @returns {{from: number, to: number}|null} */
export function parseHours(text) {
  const m = /^(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})$/.exec((text || "").replaceAll(" ", ""));
  return m && { from: Number(m[1]) * 60 + Number(m[2]), to: Number(m[3]) * 60 + Number(m[4]) };
}

/** The filter's text; null where it means the whole day. */
export function hoursText({ from, to }) {
  if (from === to || (from % 1440 === 0 && to === 1440) || from === 1440)
    return from === 1440 && to > 0 && to < 1440 ? `00:00-${clock(to)}` : null;
  return `${clock(from)}-${clock(to === 0 ? 1440 : to)}`;
}

/** @param {{value: string|null, onChange: (text: string|null) => void}} options */
export function hourRange({ value, onChange }) {
  let now = parseHours(value) || { from: 0, to: 1440 };
  const id = uid("hours");
  const bars = [h("i", { class: "hours__on" }), h("i", { class: "hours__on" })];
  const output = h("output", { class: "hours__text", for: `${id}-from ${id}-to` });
  const slider = (name, label) =>
    h("input", {
      id: `${id}-${name}`,
      class: `hours__range hours__range--${name}`,
      type: "range",
      min: 0,
      max: 1440,
      step: STEP_MIN,
      "aria-label": label,
      value: now[name],
      oninput: (event) => {
        now = { ...now, [name]: Number(event.target.value) };
        draw();
      },
      onchange: () => onChange(hoursText(now)),
    });
  const from = slider("from", "From hour, on the site's clock");
  const to = slider("to", "To hour, on the site's clock");
  const presets = [
    ["All day", null],
    ["Dawn", "04:00-08:00"],
    ["Day", "08:00-18:00"],
    ["Dusk", "18:00-22:00"],
    ["Night", "22:00-04:00"],
  ].map(([word, text]) =>
    h(
      "button",
      {
        class: "chip",
        type: "button",
        dataset: { hours: text || "" },
        onclick: () => {
          set(text);
          onChange(text);
        },
      },
      word,
    ),
  );
  const el = h(
    "div",
    { class: "hours" },
    h("div", { class: "hours__head" }, h("span", { class: "field__label" }, "Hours, local"), output),
    h("div", { class: "hours__strip" }, bars, from, to),
    h(
      "div",
      { class: "hours__scale", "aria-hidden": "true" },
      ["0", "6", "12", "18", "24"].map((x) => h("span", null, x)),
    ),
    h("div", { class: "row row--wrap" }, presets),
  );

  function draw() {
    const text = hoursText(now);
    const pct = (m) => `${(100 * m) / 1440}%`;
    const spans = !text
      ? [[0, 1440]]
      : now.from < (now.to || 1440)
        ? [[now.from, now.to || 1440]]
        : [
            [now.from, 1440],
            [0, now.to],
          ];
    bars.forEach((bar, i) => {
      bar.hidden = !spans[i];
      if (spans[i]) Object.assign(bar.style, { left: pct(spans[i][0]), width: pct(spans[i][1] - spans[i][0]) });
    });
    output.textContent = text ? `${text.replace("-", "–")}${spans.length > 1 ? ", past midnight" : ""}` : "all day";
    for (const [name, input] of [
      ["from", from],
      ["to", to],
    ])
      input.setAttribute("aria-valuetext", clock(now[name]));
    for (const button of presets) button.setAttribute("aria-pressed", String((button.dataset.hours || null) === text));
  }

  function set(text) {
    now = parseHours(text) || { from: 0, to: 1440 };
    from.value = String(now.from);
    to.value = String(now.to);
    draw();
  }
  draw();
  return { el, set };
}

/**
 * The columns of a heat map: local dates as a calendar, so that a day without recording is a gap that is seen. Where weeks
 * lie between two dates with recordings (an archive of many years), the calendar is broken instead.
 */

const DAY_MS = 86400000;
const BREAK_DAYS = 21;
const DAYS_WHOLE = 400; // up to so many days nothing is left out

/** Days since 1970 of "2025-05-10". */
export const dayNumber = (date) => Math.round(Date.parse(`${date}T00:00:00Z`) / DAY_MS);
/** The ISO date of a day's number. */
export const isoDate = (number) => new Date(number * DAY_MS).toISOString().slice(0, 10);

/**
 * @param {string[]} dates  with recordings, in any order
 * @returns {({date: string, known: boolean}|null)[]}  null is a break
 */
export function columnsOf(dates) {
  const days = [...new Set(dates)].map(dayNumber).sort((a, b) => a - b);
  if (!days.length) return [];
  const whole = days.at(-1) - days[0] < DAYS_WHOLE;
  const columns = [];
  let before = days[0] - 1;
  for (const day of days) {
    if (day - before > BREAK_DAYS && !whole) columns.push(null);
    else for (let gap = before + 1; gap < day; gap += 1) columns.push({ date: isoDate(gap), known: false });
    columns.push({ date: isoDate(day), known: true });
    before = day;
  }
  return columns;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * Words below the columns, at least `room` pixels apart.
 * @returns {{at: number, text: string, strong: boolean}[]}  `at` is a column's number
 */
export function ticksOf(columns, width, room = 76) {
  const each = Math.max(1, Math.ceil(room / width));
  const steps = [1, 2, 7, 14];
  const step = steps.find((days) => days >= each) ?? 0;
  const ticks = [];
  let year = "";
  columns.forEach((column, at) => {
    if (!column) return;
    const [y, m, d] = column.date.split("-");
    const begins = d === "01" || at === 0 || columns[at - 1] === null;
    const regular = step > 0 && (Number(d) - 1) % step === 0 && Number(d) <= 29;
    if (!begins && !regular) return;
    const last = ticks.at(-1);
    if (last && (at - last.at) * width < room) {
      if (!begins || last.strong) return;
      ticks.pop();
      if (ticks.length && (at - ticks.at(-1).at) * width < room) return;
    }
    const month = MONTHS[Number(m) - 1];
    const text = `${Number(d)} ${month}${y === year ? "" : ` ${y}`}`;
    year = y;
    ticks.push({ at, text, strong: begins });
  });
  return ticks;
}

/** "04:00-07:00" of whole hours [from, to); null for the whole day. */
export function hoursText(from, to) {
  if (from === 0 && to === 24) return null;
  const clock = (hour) => `${String(hour).padStart(2, "0")}:00`;
  return `${clock(from)}-${clock(to)}`;
}

/** Whether an hour of the day (0 to 23) lies in "22:00-04:00"; every one does in null. */
export function inHours(hour, text) {
  const span = minutesOf(text);
  if (!span) return true;
  const [from, to] = span;
  const low = hour * 60;
  const high = low + 60;
  return from < to ? low < to && high > from : low < to || high > from;
}

/** Minutes after midnight of "04:00-06:30" as [from, to]; null if it is no such text. */
export function minutesOf(text) {
  const m = /^(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})$/.exec((text || "").replaceAll(" ", ""));
  return m && [Number(m[1]) * 60 + Number(m[2]), Number(m[3]) * 60 + Number(m[4])];
}

/**
 * Days on which a site has no sound at all, between its first and its last, as spans.
 * @param {{site: string, date: string, audio_s: number}[]} cells
 * @returns {{site: string, from: string, to: string, days: number}[]}  the longest first
 */
export function silentDays(cells) {
  const sites = new Map();
  for (const cell of cells)
    if (cell.audio_s > 0) {
      if (!sites.has(cell.site)) sites.set(cell.site, new Set());
      sites.get(cell.site).add(dayNumber(cell.date));
    }
  const gaps = [];
  for (const [site, set] of sites) {
    const days = [...set].sort((a, b) => a - b);
    for (let i = 1; i < days.length; i += 1)
      if (days[i] - days[i - 1] > 1)
        gaps.push({ site, from: isoDate(days[i - 1] + 1), to: isoDate(days[i] - 1), days: days[i] - days[i - 1] - 1 });
  }
  return gaps.sort((a, b) => b.days - a.days || a.site.localeCompare(b.site) || a.from.localeCompare(b.from));
}

/**
 * The dates and hours between two cells of a heat map. A cell beside the hours (`row`) means all dates, one below the dates (`column`) all hours.
 * @param {ReturnType<typeof columnsOf>} columns
 * @param {{c: number, hour: number, row?: boolean, column?: boolean}} a @param {{c: number, hour: number}} b
 */
export function rangeOf(columns, a, b) {
  let [c0, c1] = [Math.min(a.c, b.c), Math.max(a.c, b.c)];
  let [h0, h1] = [Math.min(a.hour, b.hour), Math.max(a.hour, b.hour) + 1];
  if (a.row) [c0, c1] = [0, columns.length - 1];
  if (a.column) [h0, h1] = [0, 24];
  while (!columns[c0] && c0 < c1) c0 += 1;
  while (!columns[c1] && c1 > c0) c1 -= 1;
  if (!columns[c0] || !columns[c1]) return { date_from: "", date_to: "", hour_from: 0, hour_to: 0, all_dates: false };
  return {
    date_from: columns[c0].date,
    date_to: columns[c1].date,
    hour_from: h0,
    hour_to: h1,
    all_dates: c0 === 0 && c1 === columns.length - 1,
  };
}

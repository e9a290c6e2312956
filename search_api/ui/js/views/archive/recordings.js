/** The recordings of the selection, a page at a time. */
import { api } from "../../core/api.js";
import { h } from "../../core/dom.js";
import { count, duration, fileName, localTime } from "../../core/format.js";
import { errorState, empty, loading, skeleton } from "../../components/empty.js";
import { setParams } from "../../core/router.js";

const PAGE = 50;

/** @param {{filter: any, signal: AbortSignal}} about */
export function recordingsList({ filter, signal }) {
  const body = h("tbody");
  const foot = h("div", { class: "list-foot" });
  const table = h(
    "div",
    { class: "tablewrap" },
    h(
      "table",
      { class: "table recordings-table" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, "Begins, local"),
          h("th", { scope: "col" }, "Site"),
          h("th", { scope: "col" }, "File"),
          h("th", { scope: "col", class: "num" }, "Length"),
          h("th", { scope: "col", class: "num" }, "Windows"),
          h("th", { scope: "col" }, "State"),
        ),
      ),
      body,
    ),
  );
  const element = h("div", { class: "recordings" }, table, foot);
  let stop = new AbortController();
  let cursor = null;
  let shown = 0;
  let asked = filter;
  // The next page comes when its button comes near; the button is there for the keyboard, and if that does not happen.
  const near = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && shown < 300 && more(), {
    rootMargin: "200px",
  });
  let busy = false;

  async function more() {
    if (busy) return;
    busy = true;
    const mine = stop;
    near.disconnect();
    foot.replaceChildren(loading("Loading recordings", skeleton({ height: shown ? "36px" : "340px" })));
    try {
      const { data, meta } = await api.get(
        "recordings",
        { ...asked, limit: PAGE, cursor },
        { signal: AbortSignal.any([signal, mine.signal]) },
      );
      if (mine !== stop) return;
      body.append(...data.map(line));
      shown += data.length;
      cursor = meta.next;
      draw();
    } catch (error) {
      if (mine !== stop || error.kind === "aborted") return;
      // A page of an older state of the archive cannot be continued: begin anew.
      foot.replaceChildren(errorState(error, error.kind === "conflict" ? () => reload(asked) : more));
    } finally {
      if (mine === stop) busy = false;
    }
  }

  function draw() {
    if (!shown) {
      table.hidden = true;
      foot.replaceChildren(
        empty({
          icon: "archive",
          title: "No recordings in this selection",
          text: "Nothing was recorded at these sites, dates and hours.",
          action: h(
            "button",
            {
              class: "btn",
              type: "button",
              onclick: () => setParams({ site: [], date_from: null, date_to: null, hours: null }),
            },
            "Clear the selection",
          ),
        }),
      );
      return;
    }
    const button = cursor && h("button", { class: "btn", type: "button", onclick: more }, "Show more");
    foot.replaceChildren(
      h("span", { class: "muted small" }, cursor ? `${count(shown)} shown` : `${count(shown)} recordings`),
      ...(button ? [button] : []),
    );
    if (button) near.observe(button);
  }

  async function reload(next) {
    asked = next;
    stop.abort();
    stop = new AbortController();
    busy = false;
    cursor = null;
    shown = 0;
    table.hidden = false;
    body.replaceChildren();
    await more();
  }

  return { element, reload, destroy: () => near.disconnect() };
}

function line(row) {
  const bad = row.outcome && row.outcome !== "done";
  return h(
    "tr",
    null,
    h(
      "td",
      { class: "nowrap" },
      h("a", { href: `/recordings/${encodeURIComponent(row.recording_id)}` }, localTime(row.local_start)),
    ),
    h("td", null, h("bdi", null, row.site)),
    h("td", { class: "file-cell" }, h("bdi", { class: "mono clip", title: row.path }, fileName(row.path))),
    h("td", { class: "num nowrap" }, duration(row.duration_s)),
    h("td", { class: "num" }, count(row.windows)),
    h(
      "td",
      null,
      bad
        ? h(
            "span",
            { class: ["badge", row.outcome === "failed" ? "badge--bad" : "badge--warn"], title: row.reason || null },
            row.status || row.outcome,
          )
        : row.status && row.status !== "ok"
          ? h("span", { class: "badge badge--warn", title: row.reason || null }, row.status)
          : h("span", { class: "muted small" }, "ok"),
    ),
  );
}

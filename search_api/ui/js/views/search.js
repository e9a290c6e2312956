/** Search by sound: a clip or a window, what is looked through, and the hits. The address holds all of it. */
import { filters } from "../components/filters.js";
import { recordingHref } from "../components/listen.js";
import { player } from "../components/player.js";
import { api } from "../core/api.js";
import { h } from "../core/dom.js";
import { keys } from "../core/keys.js";
import { navigate, params as address, setParams } from "../core/router.js";
import { prefs } from "../core/store.js";
import { beginnings } from "./search/begin.js";
import { bindings } from "./search/bindings.js";
import { dropAnywhere } from "./search/drop.js";
import { hitList } from "./search/hits.js";
import { identifyPanel } from "./search/identify.js";
import { optionsPanel } from "./search/options.js";
import { sourcePanel } from "./search/source.js";
import { newSound, readState, searchBody, soundOf } from "./search/state.js";

export function mount(root, { params, signal }) {
  let shownBody = "";
  let gone = null; // the request whose sound the service does not have: one error for it is enough
  let asking = new AbortController();

  /** Another search: what was chosen among the hits of the last one is forgotten. */
  const change = (changes) => setParams({ sel: null, ...changes });
  const source = sourcePanel({
    signal,
    onClip: (clip) => change(newSound({ clip: clip.clip_id })),
    onRegion: (region) => change({ from: region?.from, to: region?.to }),
    onClear: () => change(newSound({})),
    onGone: () => {
      gone = shownBody;
      hits.none();
      identify.show(null);
    },
  });
  const identify = identifyPanel({
    onFilter: (label) => change({ label }),
    onLabel: (label) => hits.setLabel(label),
    onSuggest: (label) => hits.suggest(label),
  });
  const options = optionsPanel({ onChange: change });
  const panel = filters({ params, signal, onChange: change });
  const hits = hitList({ change, onSimilar: similar, onFilters: () => openDrawer(true) });
  const begin = beginnings({ onSimilar: similar, signal });
  const shade = h("div", { class: "search__shade", hidden: true, onclick: () => openDrawer(false) });
  const done = h(
    "button",
    { class: "btn btn--primary search__done", type: "button", onclick: () => openDrawer(false) },
    "Show the hits",
  );
  const side = h("aside", { class: "search__side", "aria-label": "What is looked for" }, options.el, panel.el, done);
  const main = h(
    "div",
    { class: "search__main" },
    h("div", { class: "search__top" }, source.el, identify.el),
    begin.el,
    hits.el,
  );
  root.append(h("div", { class: "search" }, shade, side, main), hits.thumb);
  dropAnywhere({ onFile: (file) => source.take(file), signal });

  const offKeys = keys.register(
    "Search",
    bindings({
      ...hits.act,
      play: () => (hits.act.hasHits() ? hits.act.play() : source.toggle()),
      autoplay: () => prefs.set("autoplay", !prefs.get("autoplay")),
      open: () => navigate(recordingHref(hits.act.current())),
      similar: () => similar(hits.act.current()),
      filter: () => {
        openDrawer(true);
        panel.focus();
      },
      choose: () => source.choose(),
      close: () => (side.classList.contains("is-open") ? openDrawer(false) : player.stop()),
    }),
  );

  function similar(hit) {
    player.stop();
    change(newSound({ window: hit.window_id }));
    window.scrollTo({ top: 0 });
  }

  /** On narrow screens the filter is a drawer. */
  function openDrawer(open) {
    side.classList.toggle("is-open", open);
    shade.hidden = !open;
    if (open) side.querySelector("select, input").focus({ preventScroll: true });
  }

  async function search() {
    const body = searchBody(address());
    const text = JSON.stringify(body);
    begin.show(!body);
    if (text === shownBody) return;
    shownBody = text;
    asking.abort();
    player.stop();
    if (!body) {
      hits.none();
      return;
    }
    asking = new AbortController();
    const mine = asking;
    hits.wait();
    try {
      const { data } = await api.post("search", body, { signal: mine.signal, repeat: true });
      if (mine === asking && !signal.aborted) hits.show(data, body, panel.count() > 0);
    } catch (error) {
      if (error.kind === "aborted" || mine !== asking || text === gone) return;
      shownBody = "";
      hits.fail(error, search);
    }
  }

  function draw() {
    const now = address();
    const state = readState(now);
    source.show(state);
    identify.show(soundOf(state));
    options.set(state);
    panel.set(now);
    hits.set(state, now, panel.count());
    search();
  }
  draw();

  return {
    update: draw,
    unmount() {
      asking.abort();
      player.stop();
      offKeys();
      for (const part of [source, identify, panel, hits, begin]) part.destroy();
    },
  };
}

/** The found windows: shown, chosen, heard, judged, ticked and exported. */
import { empty, errorState } from "../../components/empty.js";
import { filterChips } from "../../components/filters.js";
import { noFilter } from "../../components/filter_values.js";
import { judging } from "../../components/judging.js";
import { player } from "../../components/player.js";
import { announce, debounce, h, replace } from "../../core/dom.js";
import { plural, speciesName } from "../../core/format.js";
import { setParams } from "../../core/router.js";
import { info } from "../../core/shell.js";
import { prefs, undo } from "../../core/store.js";
import { toast, toastError } from "../../core/toast.js";
import { openExport } from "./export.js";
import { hitGrid } from "./grid.js";
import { judgeBar } from "./judgebar.js";
import { planLine } from "./plan.js";
import { scoreStrip } from "./strip.js";
import { toolbar } from "./toolbar.js";

const WORDS = { positive: "Yes", negative: "No", uncertain: "Unsure" };
const GHOSTS = 8;

/**
 * @param {{change: (changes: Record<string, any>) => void, onSimilar: (hit: any) => void, onFilters: () => void}} options
 *   `change` changes the search in the address
 */
export function hitList({ change, onSimilar, onFilters }) {
  let state = { selected: null, label: null, density: 0, window: null };
  let hits = [];
  let answer = null;
  let asked = null;
  let suggested = null;
  const ticked = new Set();
  // Browsers refuse too many changes of the address: an arrow key that is held down makes one.
  const keepSelected = debounce((id) => setParams({ sel: id }, { replace: true, silent: true }), 250);

  const label = () => state.label ?? prefs.get("label");
  const density = () => state.density || prefs.get("density");
  const judgementOf = (hit) => (label() ? judging.of(hit, label()) : null);

  const strip = scoreStrip({ onJump: (index) => grid.select(index, { focus: true }) });
  const bar = toolbar({
    strip: strip.el,
    onLabel: setLabel,
    onDensity: setDensity,
    onExport: save,
    onUndo: takeBack,
    onFilters,
  });
  const grid = hitGrid({ onSelect, onJudge: judge, onTick, onSimilar });
  const chips = h("div", { class: "search__chips", role: "group", "aria-label": "Filter in use" });
  const message = h("div", { class: "search__message" });
  const thumb = judgeBar({
    onJudge: (judgement) => act.judge(judgement),
    onMove: (step) => act.move(step),
    onPlay: () => act.play(),
    onLabel: () => act.focusLabel(),
  });
  const el = h(
    "section",
    { class: "search__results", "aria-label": "Hits", hidden: true },
    chips,
    bar.el,
    message,
    grid.el,
  );
  const offs = [prefs.on("margin_s", () => showHits()), prefs.on("speed", () => player.stop()), judging.on(onJudged)];

  /** What keys and the bar at the foot do. */
  const act = {
    hasHits: () => grid.size > 0,
    current: () => grid.current?.hit ?? null,
    judge: (judgement) => grid.current && judge(grid.current.hit, judgement, true),
    undo: takeBack,
    move: (step, rows) => move(() => grid.move(step, rows)),
    jump: (index) => move(() => grid.select(Math.min(index, grid.size - 1), { focus: true })),
    play: () => grid.current?.toggle().catch((error) => toastError(error)),
    tick: () => onTick(grid.current.hit, !ticked.has(grid.current.hit.window_id)),
    focusLabel: () => bar.label.input.focus(),
    density: (step) => setDensity(Math.min(3, Math.max(1, density() + step))),
  };

  function setDensity(n) {
    prefs.set("density", n);
    setParams({ density: n }, { replace: true });
  }

  function setLabel(name) {
    prefs.set("label", name || "");
    setParams({ as: name || null }, { replace: true });
    announce(name ? `Judging as ${speciesName(name)}` : "No label");
  }

  /** Judge one; `onward` goes to the next card. */
  function judge(hit, judgement, onward = false) {
    if (!label()) {
      act.focusLabel();
      toast("First say what is judged: a species, or any word of your own.");
      return;
    }
    const onUndo = () =>
      grid.select(
        Math.max(
          0,
          hits.findIndex((one) => one.window_id === hit.window_id),
        ),
        { focus: true },
      );
    if (judging.judge(hit, label(), judgement, { provenance: "page: search", onUndo }))
      announce(`${WORDS[judgement]}, ${speciesName(label())}`);
    if (onward && grid.index < grid.size - 1) act.move(1);
  }

  function onJudged(target, name, judgement) {
    if (name !== label()) return;
    grid.of(target.window_id)?.setJudgement(judgement, name);
    drawCounts();
  }

  async function takeBack() {
    const entry = await undo.pop();
    toast(entry ? `Undone: ${entry.label}` : "Nothing to undo in this sitting.", { timeout: 2500 });
  }

  function move(step) {
    const before = grid.current;
    step();
    if (prefs.get("autoplay") && grid.current && grid.current !== before)
      grid.current.toggle().catch((error) => toastError(error));
    else if (grid.current !== before) player.stop();
  }

  function onTick(hit, on) {
    if (on) ticked.add(hit.window_id);
    else ticked.delete(hit.window_id);
    grid.of(hit.window_id)?.setTicked(on);
    bar.setTicked(hits.filter((one) => ticked.has(one.window_id)).length);
  }

  function onSelect(hit, index) {
    state.selected = hit.window_id;
    keepSelected(hit.window_id);
    strip.mark(hit);
    thumb.set(judgementOf(hit));
    announce(`${index + 1} of ${hits.length}`);
  }

  async function save() {
    const about = await info().catch(() => null);
    const named = hits.map((hit) => {
      const judgement = judgementOf(hit);
      return {
        ...hit,
        label: judgement ? label() : "",
        judgement: judgement || "",
        annotator: judgement ? prefs.get("annotator") || about?.you?.annotator || "" : "",
      };
    });
    openExport({
      highHz: (about?.store?.model?.sample_rate_hz || 48000) / 2,
      about: { ...asked, plan: answer?.plan, store: about?.store?.name, page: location.href },
      sets: [
        { word: "Ticked", hits: named.filter((hit) => ticked.has(hit.window_id)) },
        { word: "All hits", hits: named },
        { word: "Judged", hits: named.filter((hit) => hit.judgement) },
        { word: "Judged yes", hits: named.filter((hit) => hit.judgement === "positive") },
      ],
    });
  }

  function drawCounts() {
    bar.setCounts(judging.count(hits, label()));
    strip.draw(hits, judgementOf);
    strip.mark(grid.current?.hit || null);
    thumb.set(grid.current ? judgementOf(grid.current.hit) : null);
  }

  function showHits() {
    if (!answer) return;
    grid.show(hits, { judgementOf, label: label(), ticked, selected: state.selected });
    thumb.show(hits.length > 0);
    drawCounts();
  }

  function clear() {
    [hits, answer] = [[], null];
    grid.show([], { judgementOf, label: "", ticked, selected: null });
    thumb.show(false);
    strip.draw([], judgementOf);
    bar.setPlan("");
  }

  const nothing = (filtered) =>
    empty({
      icon: "search",
      title: "No window fits",
      text: filtered ? "The filter leaves nothing that could be found." : "There is nothing to compare with yet.",
      action: filtered
        ? h("button", { class: "btn", type: "button", onclick: () => change(noFilter()) }, "Clear the filter")
        : null,
    });

  return {
    el,
    thumb: thumb.el,
    act,
    /** Nothing is searched for. */
    none() {
      el.hidden = true;
      keepSelected.cancel();
      clear();
    },
    /** The answer is on its way; what is there stays, dimmed. */
    wait() {
      keepSelected.cancel();
      el.hidden = false;
      el.setAttribute("aria-busy", "true");
      if (answer) el.classList.add("is-stale");
      else {
        bar.setTitle("Searching…");
        replace(
          message,
          h(
            "div",
            { class: "grid", "aria-hidden": "true" },
            Array.from({ length: GHOSTS }, () => h("div", { class: "skeleton search__ghost" })),
          ),
        );
      }
    },
    /** @param {any} data  the service's answer @param {any} body  what was asked @param {boolean} filtered */
    show(data, body, filtered) {
      [answer, asked, hits] = [data, body, data.hits];
      el.setAttribute("aria-busy", "false");
      el.classList.remove("is-stale");
      const sound = body.window ? "this window" : data.query?.name || "this sound";
      bar.setTitle(hits.length ? `${plural(hits.length, "window")} like ${sound}` : "No window found");
      bar.setPlan(planLine(data.plan, body.clip ? data.query?.windows : []), data.plan.notes || []);
      replace(message, hits.length ? null : nothing(filtered));
      showHits();
      announce(plural(hits.length, "hit"));
    },
    fail(error, retry) {
      el.setAttribute("aria-busy", "false");
      el.classList.remove("is-stale");
      clear();
      bar.setTitle("The search did not work");
      replace(message, errorState(error, retry));
    },
    /** What the model hears in the sound: proposed as label while there is none. */
    suggest(name) {
      suggested = name;
      bar.setSuggestion(label() || !name ? null : name, speciesName(name), setLabel);
    },
    setLabel,
    /** Follow the address. @param {ReturnType<typeof import("./state.js").readState>} next @param {URLSearchParams} params @param {number} filters */
    set(next, params, filters) {
      state = { ...next, selected: next.selected ?? state.selected };
      replace(chips, filterChips({ params, onChange: change }));
      bar.setFilters(filters);
      bar.setDensity(density());
      bar.label.set(label());
      thumb.setLabel(speciesName(label()));
      bar.setSuggestion(label() || !suggested ? null : suggested, speciesName(suggested), setLabel);
      grid.el.dataset.density = String(density());
      if (!answer) return;
      grid.redraw(judgementOf, label());
      drawCounts();
    },
    destroy() {
      for (const off of offs) off();
      keepSelected.cancel();
      bar.destroy();
      grid.destroy();
    },
  };
}

/** One recording: all of its spectrogram, what the model found, what was annotated; listening and judging in it. */
import { api } from "../core/api.js";
import { announce, h, replace } from "../core/dom.js";
import { offset, speciesName } from "../core/format.js";
import { keys } from "../core/keys.js";
import { navigate, setParams } from "../core/router.js";
import { info } from "../core/shell.js";
import { prefs } from "../core/store.js";
import { toastError } from "../core/toast.js";
import { similarHref, stretchClip } from "../components/listen.js";
import { player } from "../components/player.js";
import { judge, undoLast, WORDS } from "./judging.js";
import { foundView } from "./recording/facts.js";
import { lanes } from "./recording/lanes.js";
import { layout, skeletonView } from "./recording/layout.js";
import { selectionPanel } from "./recording/panel.js";
import { timeline } from "./recording/timeline.js";
import { firstView, fitted, viewer } from "./recording/viewer.js";

const CHUNK_S = 120; // played at once; the next one follows by itself

/** @param {HTMLElement} root @param {any} ctx */
export async function mount(root, ctx) {
  const { signal, path } = ctx;
  const id = path.id;
  replace(root, skeletonView());
  const [{ data: recording }, about] = await Promise.all([
    api.get(`recordings/${encodeURIComponent(id)}`, {}, { signal }),
    info().catch(() => null),
  ]);
  const duration = Math.max(recording.duration_s || 0, 0.01);
  const chunk = Math.min(CHUNK_S, about?.limits?.clip_s || CHUNK_S);
  const playerId = `recording-${id}`;
  const wanted = asked(ctx.params, duration);
  let windows = [];
  let annotations = recording.annotations || [];
  let selected = -1;
  let region = null;
  let label = ctx.params.get("label") || "";
  let playFrom = wanted.at ?? 0;
  document.title = `${recording.site || "Recording"} ${String(recording.local_start || "")
    .slice(0, 16)
    .replace("T", " ")} · Sonotheque`;

  const view = viewer({ id, duration, view: wanted.view, playerId, onView, onSeek, onRegion });
  const lane = lanes({
    onWindow: (index) => select(index),
    onAnnotation: (a) => {
      view.reveal(a.start_s, a.end_s);
      onSeek(a.start_s + 1e-3);
    },
  });
  const panel = selectionPanel({ signal, onJudge, onPlay: togglePlay });
  const found = h("div");
  const clockEl = h("span", { class: "tabular small muted" });
  const span = () => view.view.to - view.view.from;
  replace(root, layout({ recording, view, lane, panel, found, clockEl, span }));

  drawFound();
  onView(wanted.view, false);
  lane.set({ annotations });
  const offPlayer = player.on(({ id: now }) => panel.setPlaying(now === playerId));
  const offCursor = player.follow(playerId, (s) => {
    if (s === null) return;
    playFrom = s;
    if (s > view.view.to && s < duration) view.show(fitted(view.view.to, span(), duration), { now: true });
  });
  const offKeys = keys.register("Recording", [
    { keys: ["Space"], label: "Play or stop", run: togglePlay },
    { keys: ["ArrowLeft"], label: "Window before", run: () => step(-1) },
    { keys: ["ArrowRight"], label: "Next window", run: () => step(1) },
    { keys: ["Shift+ArrowLeft"], label: "Move the view left", run: () => view.pan(-span() / 2) },
    { keys: ["Shift+ArrowRight"], label: "Move the view right", run: () => view.pan(span() / 2) },
    { keys: ["+", "="], label: "Zoom in", run: () => view.zoom(0.5, centre()) },
    { keys: ["-"], label: "Zoom out", run: () => view.zoom(2, centre()) },
    { keys: ["0"], label: "The whole recording", run: () => view.whole() },
    { keys: ["y"], label: "Yes, it is there", run: () => onJudge("positive") },
    { keys: ["n"], label: "No, it is not", run: () => onJudge("negative") },
    { keys: ["u"], label: "Unsure", run: () => onJudge("uncertain") },
    { keys: ["z", "Ctrl+z"], label: "Take the last judgement back", run: undoLast },
    { keys: ["l"], label: "Write the label", run: () => panel.focusLabel() },
    {
      keys: ["m"],
      label: "Find more like this window",
      when: () => selected >= 0,
      run: () => navigate(similarHref(windows[selected])),
    },
    {
      keys: ["["],
      label: "Recording before, of this site",
      when: () => Boolean(recording.previous),
      run: () => navigate(`/recordings/${encodeURIComponent(recording.previous)}`),
    },
    {
      keys: ["]"],
      label: "Next recording of this site",
      when: () => Boolean(recording.next),
      run: () => navigate(`/recordings/${encodeURIComponent(recording.next)}`),
    },
    { keys: ["Escape"], label: "Give up the span", when: () => Boolean(region), run: () => onRegion(null, true) },
  ]);
  loadTimeline();

  async function loadTimeline() {
    try {
      for await (const some of timeline(recording, signal)) {
        windows = some;
        lane.set({ windows });
      }
      const at = wanted.at ?? recording.predictions_top?.[0]?.best_start_s ?? 0;
      if (windows.length) select(indexAt(at), { still: wanted.exact });
    } catch (error) {
      toastError(error, "The windows could not be loaded");
    }
  }

  function indexAt(s) {
    const found = windows.findLastIndex((w) => w.start_s <= s + 1e-6);
    return Math.max(0, found);
  }

  const centre = () =>
    selected >= 0 && windows[selected].end_s > view.view.from && windows[selected].start_s < view.view.to
      ? (windows[selected].start_s + windows[selected].end_s) / 2
      : (view.view.from + view.view.to) / 2;

  function onView(next, done) {
    lane.set({ from: next.from, to: next.to });
    clockEl.textContent = `${offset(next.from)} – ${offset(next.to)} of ${offset(duration)}`;
    if (done)
      setParams(
        { from: next.from > 0 ? next.from.toFixed(2) : null, to: next.to < duration ? next.to.toFixed(2) : null },
        { replace: true, silent: true },
      );
  }

  function select(index, { still = false } = {}) {
    if (!windows[index]) return;
    selected = index;
    region = null;
    view.setRegion(null);
    const window = windows[index];
    playFrom = window.start_s;
    view.setMark({ from: window.start_s, to: window.end_s });
    lane.set({ selected: index });
    if (!still) view.reveal(window.start_s, window.end_s);
    panel.showWindow(window, overlapping(window.start_s, window.end_s));
    setParams({ at: window.start_s }, { replace: true, silent: true });
  }

  const overlapping = (from, to) => annotations.filter((a) => a.start_s < to && a.end_s > from);

  function step(by) {
    if (!windows.length) return;
    select(Math.max(0, Math.min(windows.length - 1, selected + by)));
    const window = windows[selected];
    announce(`${offset(window.start_s)}, ${window.top[0] ? window.top[0].label.split("_").pop() : "nothing found"}`);
    if (player.current?.id === playerId) play(window.start_s);
  }

  function onSeek(s) {
    if (windows.length) select(indexAt(s), { still: true });
    playFrom = s;
    if (player.current?.id === playerId) play(s);
  }

  function onRegion(next, done) {
    region = next;
    view.setRegion(next);
    if (!next) {
      if (windows[selected]) select(selected, { still: true });
      return;
    }
    playFrom = next.from;
    if (done) panel.showSpan(next, overlapping(next.from, next.to));
  }

  function togglePlay() {
    if (player.current?.id === playerId) player.stop();
    else play(region ? region.from : playFrom >= duration - 0.05 ? 0 : playFrom);
  }

  function play(from) {
    const to = Math.min(duration, from + chunk);
    const clip = stretchClip("recordings", id, {
      from,
      to,
      playerId,
      onEnd: () => (region || to >= duration - 0.05 ? undefined : play(to)),
    });
    if (region) clip.toS = region.to;
    player.play(clip).catch((error) => toastError(error));
  }

  function onJudge(judgement) {
    const window = windows[selected];
    if (!window && !region) return;
    if (!panel.label) {
      panel.focusLabel();
      announce("First say which species or sound is judged");
      return;
    }
    const [from, to] = region ? [region.from, region.to] : [window.start_s, window.end_s];
    const target = region
      ? { recording_id: id, start_s: Number(from.toFixed(3)), end_s: Number(to.toFixed(3)) }
      : window;
    const own = {
      start_s: from,
      end_s: to,
      label: panel.label,
      judgement,
      annotator: prefs.get("annotator") || "you",
      isOwn: true,
    };
    const before = annotations.filter((a) => a.isOwn && a.label === own.label && a.start_s === from && a.end_s === to);
    if (before.some((a) => a.judgement === judgement)) return;
    const change = (next) => {
      annotations = next;
      lane.set({ annotations });
      panel.annotations(
        region
          ? overlapping(region.from, region.to)
          : windows[selected]
            ? overlapping(windows[selected].start_s, windows[selected].end_s)
            : [],
      );
    };
    change([...annotations.filter((a) => !before.includes(a)), own]);
    announce(`${WORDS[judgement]} for ${speciesName(own.label)}`);
    judge({
      target,
      label: own.label,
      judgement,
      provenance: "recording view",
      onUndo: () => change([...annotations.filter((a) => a !== own), ...before]),
    });
  }

  function drawFound() {
    replace(
      found,
      foundView(recording.predictions_top, {
        chosen: label,
        onChoose: (row) => {
          label = label === row.label ? "" : row.label;
          lane.set({ label });
          setParams({ label: label || null }, { replace: true, silent: true });
          drawFound();
          if (windows.length && label) select(indexAt(row.best_start_s));
        },
      }),
    );
  }
  lane.set({ label });

  return {
    update() {}, // its own changes of the address are silent
    unmount() {
      offKeys();
      offPlayer();
      offCursor();
      if (player.current?.id === playerId) player.stop();
      view.destroy();
      lane.destroy();
      panel.destroy();
    },
  };
}

/** What the address asks for: the stretch, and the second that is meant (null if none). */
function asked(params, duration) {
  const number = (name) => {
    const x = Number.parseFloat(params.get(name) ?? "");
    return Number.isFinite(x) ? x : null;
  };
  const at = number("at");
  const [from, to] = [number("from"), number("to")];
  if (from === null && to === null) return { view: firstView(duration, at ?? 0), at, exact: false };
  const low = from ?? 0;
  return { view: fitted(low, (to ?? duration) - low, duration), at, exact: true };
}

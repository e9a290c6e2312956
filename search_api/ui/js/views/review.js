/** A sitting: one window at a time, judged by one key. */
import { api, request, url } from "../core/api.js";
import { announce, h, replace } from "../core/dom.js";
import { count, fixed, speciesName } from "../core/format.js";
import { keys } from "../core/keys.js";
import { navigate, setParams } from "../core/router.js";
import { prefs, undo } from "../core/store.js";
import { toastError } from "../core/toast.js";
import { errorState, skeleton } from "../components/empty.js";
import { filterParams } from "../components/filter_values.js";
import { judging } from "../components/judging.js";
import { recordingHref, similarHref, windowClip, windowPicture } from "../components/listen.js";
import { player } from "../components/player.js";
import { judge, WORDS } from "./judging.js";
import { segmented } from "./parts.js";
import { classNames } from "./probes/words.js";
import { sittingEnd, nothingLeft } from "./review/end.js";
import { makeQueue } from "./review/queue.js";
import { SIZE, stageOf } from "./review/stage.js";

const HOWS = [
  ["uncertain", "unsure ones"],
  ["top", "best ones"],
  ["margin", "at the threshold"],
  ["bins", "random by score"],
];
const HOW_WORDS = {
  uncertain: "Windows that the probe is least sure of, unlike each other: what teaches it most.",
  top: "The highest scores: what it takes for certain.",
  margin: "Windows at the threshold: what decides how many hits are right.",
  bins: "Random windows of each score bin: from these, calls can be counted.",
};

/** @param {HTMLElement} root @param {any} ctx */
export async function mount(root, ctx) {
  const { signal, path } = ctx;
  const name = path.name;
  const base = `probes/${encodeURIComponent(name)}`;
  let params = ctx.params;
  let queue = makeQueue([]);
  let tag = "";
  let answer = null;
  let parts = [];
  let turn = 0;
  let saying = false;
  document.title = `Review of ${name} · Sonotheque`;
  const how = () => (HOWS.some(([key]) => key === params.get("how")) ? params.get("how") : "uncertain");
  const size = () => Math.min(200, Math.max(1, Number(params.get("k")) || 10));
  const stage = h("div", { class: "stage" });
  const dots = h("div", { class: "review-dots", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0 });
  const progress = h("span", { class: "review-count tabular", "aria-live": "polite" });
  const choice = segmented({
    label: "Which windows",
    options: HOWS,
    value: how(),
    onChange: (value) => setParams({ how: value === "uncertain" ? null : value }),
  });
  const explain = h("p", { class: "muted small" });
  const classBox = h("div");
  const autoplay = h("input", {
    type: "checkbox",
    checked: prefs.get("autoplay"),
    onchange: () => prefs.set("autoplay", autoplay.checked),
  });
  replace(
    root,
    h(
      "div",
      { class: "review" },
      h(
        "div",
        { class: "review-head" },
        h(
          "div",
          null,
          h("h1", null, "Review ", h("a", { href: `/probes/${encodeURIComponent(name)}` }, h("bdi", null, name))),
          explain,
        ),
        h("div", { class: "row row--wrap" }, classBox, choice, h("label", { class: "check" }, autoplay, "play each")),
      ),
      h("div", { class: "review-progress" }, progress, dots),
      stage,
    ),
  );

  async function load() {
    turn += 1;
    const mine = turn;
    explain.textContent = HOW_WORDS[how()];
    clean();
    replace(stage, skeleton({ height: "min(52vh, 460px)" }));
    replace(progress, "…");
    replace(dots);
    try {
      await pickClass();
      const { data, meta } = await api.get(
        `${base}/review`,
        { ...filterParams(params), label: params.get("label"), how: how(), k: size() },
        { signal },
      );
      if (mine !== turn) return;
      answer = { ...data, notes: meta.notes?.length ? meta.notes : data.notes || [] };
      tag = data.review;
      queue = makeQueue(data.to_judge);
      show();
    } catch (error) {
      if (mine === turn && error.kind !== "aborted") replace(stage, errorState(error, load));
    }
  }

  /** Random ones of each bin are of one class: it is chosen here. */
  async function pickClass() {
    const { data: probe } = await api.get(base, {}, { signal });
    const names = classNames(probe.classes);
    const chosen = params.get("label") || "";
    if (how() === "bins" && !chosen && names.length > 1) {
      params.set("label", names[0]);
      setParams({ label: names[0] }, { replace: true, silent: true });
    }
    const now = params.get("label") || "";
    replace(
      classBox,
      names.length > 1 &&
        h(
          "select",
          {
            class: "input class-pick",
            "aria-label": "Class",
            onchange: (event) => setParams({ label: event.target.value || null }),
          },
          how() !== "bins" && h("option", { value: "" }, "all classes"),
          names.map((c) => h("option", { value: c, selected: c === now }, speciesName(c))),
        ),
    );
  }

  function clean() {
    for (const part of parts) part.destroy();
    parts = [];
  }

  function show() {
    clean();
    drawProgress();
    if (!queue.rows.length) return replace(stage, nothingLeft(about()));
    if (queue.isOver) return replace(stage, sittingEnd(about()));
    const row = queue.current;
    const stageParts = stageOf(row, { said: queue.said[queue.at], canUndo: queue.done > 0, say, back });
    parts = stageParts.parts;
    replace(stage, stageParts.elements);
    announce(
      `${queue.done + 1} of ${queue.rows.length}. Is this ${speciesName(row.label)}? Score ${fixed(row.score, 2)}`,
    );
    if (prefs.get("autoplay")) player.play(windowClip(row)).catch(() => {});
    ahead(queue.next);
    return undefined;
  }

  /** Fetch the next window's sound and picture while this one is judged. */
  function ahead(row) {
    if (!row || row === queue.current) return;
    player.preload(windowClip(row).src);
    const { src, params: wanted } = windowPicture(row, SIZE);
    request(url(src, { ...prefs.spectrogramParams(), ...wanted }), { signal })
      .then((response) => response.blob())
      .catch(() => {});
  }

  function drawProgress() {
    const n = queue.rows.length;
    const done = queue.done;
    replace(
      progress,
      h("b", null, n ? `${Math.min(done + (queue.isOver ? 0 : 1), n)} of ${n}` : ""),
      done > 0 && h("span", { class: "muted" }, ` · ${count(done)} done`),
    );
    dots.setAttribute("aria-valuemax", String(n));
    dots.setAttribute("aria-valuenow", String(done));
    replace(
      dots,
      queue.rows.map((_, i) =>
        h("button", {
          class: ["dot", queue.said[i] && `is-${queue.said[i]}`, i === queue.at && !queue.isOver && "is-now"],
          type: "button",
          tabindex: "-1",
          "aria-label": `Window ${i + 1}${queue.said[i] ? `, ${WORDS[queue.said[i]] || queue.said[i]}` : ""}`,
          onclick: () => {
            queue.go(i);
            show();
          },
        }),
      ),
    );
  }

  function say(what) {
    if (!queue.current || queue.isOver) return;
    const row = queue.current;
    const position = queue.say(what);
    player.stop();
    const onUndo = () => {
      queue.clear(position);
      queue.go(position);
      show();
    };
    if (what === "skipped") undo.push({ label: "skip", run: onUndo });
    else {
      // Judging otherwise takes the earlier judgement back first: that is no refusal.
      saying = true;
      judge({ target: row, label: row.label, judgement: what, provenance: tag, onUndo });
      saying = false;
    }
    show();
  }

  async function back() {
    if (!queue.done) return;
    try {
      await undo.pop();
      announce("Taken back");
    } catch (error) {
      toastError(error, "Could not be taken back");
    }
  }

  function move(by) {
    if (!queue.rows.length) return;
    queue.go(queue.at + by);
    player.stop();
    show();
  }

  const about = () => ({ name, queue, how: how(), k: size(), notes: answer?.notes || [], load, back });
  const isOpen = () => queue.rows.length > 0 && !queue.isOver;
  // What the service refused for good is open again.
  const offJudging = judging.on((target, label, judgement) => {
    const at = queue.rows.findIndex(
      (row, i) =>
        judgement === null &&
        !saying &&
        row.window_id === target.window_id &&
        row.label === label &&
        queue.said[i] &&
        queue.said[i] !== "skipped",
    );
    if (at >= 0) {
      queue.clear(at);
      show();
    }
  });
  const offKeys = keys.register("Review", [
    { keys: ["y"], label: "Yes, it is there", when: isOpen, run: () => say("positive") },
    { keys: ["n"], label: "No, it is not", when: isOpen, run: () => say("negative") },
    { keys: ["u"], label: "Unsure", when: isOpen, run: () => say("uncertain") },
    { keys: ["s"], label: "Skip", when: isOpen, run: () => say("skipped") },
    {
      keys: ["Space"],
      label: "Play or stop",
      when: isOpen,
      run: () => player.toggle(windowClip(queue.current)).catch((error) => toastError(error)),
    },
    { keys: ["ArrowLeft"], label: "Window before", when: isOpen, run: () => move(-1) },
    { keys: ["ArrowRight"], label: "Next window", when: isOpen, run: () => move(1) },
    { keys: ["z", "Ctrl+z"], label: "Take the last judgement back", run: back },
    { keys: ["o"], label: "Open the recording", when: isOpen, run: () => navigate(recordingHref(queue.current)) },
    { keys: ["m"], label: "Find more like this", when: isOpen, run: () => navigate(similarHref(queue.current)) },
  ]);
  load();
  return {
    update(next) {
      params = next.params;
      choice.set(how());
      load();
    },
    unmount() {
      turn += 1;
      offKeys();
      offJudging();
      player.stop();
      clean();
    },
  };
}

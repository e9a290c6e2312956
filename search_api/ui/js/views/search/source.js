/** What is searched for: a place to drop a sound, a file on its way, the microphone, or the chosen sound. */
import { errorState, loading, skeleton } from "../../components/empty.js";
import { player } from "../../components/player.js";
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { icon } from "../../core/icons.js";
import { clipSound, windowSound } from "./sounds.js";
import { ACCEPT, recorder, sendClip } from "./upload.js";

const BARS = [9, 18, 30, 44, 26, 52, 34, 20, 40, 24, 14, 8];
const WAITING = { height: "214px" };

/**
 * @param {{onClip: (clip: any) => void, onRegion: (region: {from: number, to: number}|null) => void, onClear: () => void, onGone: (key: string) => void, signal: AbortSignal}} options
 */
export function sourcePanel({ onClip, onRegion, onClear, onGone, signal }) {
  const el = h("section", { class: "source panel", "aria-label": "The sound to search for" });
  const picker = h("input", {
    type: "file",
    accept: ACCEPT,
    class: "visually-hidden",
    tabindex: "-1",
    "aria-label": "Choose a sound file",
    onchange: () => {
      if (picker.files[0]) take(picker.files[0]);
      picker.value = "";
    },
  });
  let shownKey = "";
  let sound = null;
  let known = null; // the clip that was just sent: no need to ask for it

  /** Show something else; `kind` is for the style sheet. */
  function put(kind, ...parts) {
    sound?.destroy();
    sound = null;
    el.dataset.kind = kind;
    replace(el, parts, picker);
  }

  const again = (run) =>
    h(
      "div",
      { class: "source__again" },
      h("button", { class: "btn", type: "button", onclick: run }, "Choose another sound"),
    );

  /** Send a file and go on with it. */
  async function take(file) {
    const bar = h("div", { class: "progress__bar" });
    const text = h("span", null, `Sending ${file.name}…`);
    const stop = new AbortController();
    const cancel = h("button", { class: "btn btn--small", type: "button", onclick: () => stop.abort() }, "Cancel");
    shownKey = "sending";
    put(
      "sending",
      h(
        "div",
        { class: "source__sending", role: "status" },
        icon("upload", { size: 26 }),
        text,
        h("div", { class: "progress" }, bar),
        cancel,
      ),
    );
    try {
      known = await sendClip(file, {
        signal: AbortSignal.any([signal, stop.signal]),
        onProgress: (share) => {
          bar.style.setProperty("--share", share);
          if (share >= 1) text.textContent = "Reading the sound…";
        },
      });
      shownKey = "";
      onClip(known);
    } catch (error) {
      if (signal.aborted) return;
      if (error.kind === "aborted") drop();
      else
        put(
          "failed",
          errorState(error, () => take(file)),
          again(drop),
        );
    }
  }

  function record() {
    shownKey = "recording";
    player.stop();
    const tape = recorder({ onDone: (wav) => (wav ? take(wav) : drop()) });
    put("recording", tape.el);
    signal.addEventListener("abort", () => tape.stop(false), { once: true });
  }

  function drop() {
    shownKey = "drop";
    const bars = BARS.map((high, i) => h("i", { style: { height: `${high}px`, "animation-delay": `${i * 60}ms` } }));
    put(
      "drop",
      h(
        "div",
        { class: "drop" },
        h("div", { class: "drop__mark", "aria-hidden": "true" }, bars),
        h(
          "div",
          { class: "drop__text" },
          h("h1", null, "Where else does this sound occur?"),
          h(
            "p",
            { class: "muted" },
            "Drop a recording here. A few seconds are enough; you can mark the part you mean.",
          ),
        ),
        h(
          "div",
          { class: "drop__buttons" },
          h(
            "button",
            { class: "btn btn--primary", type: "button", onclick: () => picker.click() },
            icon("upload"),
            "Choose a file",
          ),
          h("button", { class: "btn", type: "button", onclick: record }, icon("mic"), "Record"),
        ),
      ),
    );
  }

  async function clip(id, region, key) {
    if (known?.clip_id !== id) {
      put("clip", loading("Reading the clip", skeleton(WAITING)));
      known = (await api.get(`clips/${encodeURIComponent(id)}`, {}, { signal })).data;
      if (shownKey !== key) return;
    }
    const made = clipSound(known, { region, onRegion, onClear });
    put("clip", made.parts);
    sound = made;
  }

  async function window(id, key) {
    put("window", loading("Reading the window", skeleton(WAITING)));
    const { data } = await api.get(`windows/${encodeURIComponent(id)}`, {}, { signal });
    if (shownKey !== key) return;
    const made = windowSound(data, { onClear });
    put("window", made.parts);
    sound = made;
  }

  /** Show what the address says. @param {ReturnType<typeof import("./state.js").readState>} state */
  async function show(state) {
    const region = state.from !== null && state.to !== null ? { from: state.from, to: state.to } : null;
    const key = state.clip ? `clip ${state.clip}` : state.window ? `window ${state.window}` : "drop";
    if (key === shownKey) {
      sound?.set(region);
      return;
    }
    // A filter that is changed meanwhile does not end a recording or an upload.
    if (key === "drop" && (shownKey === "sending" || shownKey === "recording")) return;
    shownKey = key;
    try {
      if (state.clip) await clip(state.clip, region, key);
      else if (state.window) await window(state.window, key);
      else drop();
    } catch (error) {
      if (error.kind === "aborted" || shownKey !== key) return;
      if (error.status === 404 && state.clip)
        error.message = "The service no longer has this clip; it keeps one for a week. Choose the file again.";
      put("failed", errorState(error), again(onClear));
      onGone(key);
    }
  }

  return {
    el,
    show,
    take,
    choose: () => picker.click(),
    toggle: () => sound?.toggle(),
    destroy: () => sound?.destroy(),
  };
}

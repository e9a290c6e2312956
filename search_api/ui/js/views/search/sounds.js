/** The chosen sound as a picture: a clip with its region, or a window of the archive between what is before and after it. */
import { playButton } from "../../components/card.js";
import { originOf, recordingHref, stretchClip, windowClip, windowPicture } from "../../components/listen.js";
import { player } from "../../components/player.js";
import { spectrogram } from "../../components/spectrogram.js";
import { h } from "../../core/dom.js";
import { fileName, localTime, offset, seconds } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { prefs } from "../../core/store.js";
import { toastError } from "../../core/toast.js";

const SIZE = { width: 1400, height: 260 };
const HEIGHT = "170px";
const REGION_MIN_S = 0.3;
const MARGIN_MIN_S = 3;

/** Play from a second of the picture, or go there if it plays. */
function seekIn(id, clip) {
  return (s) => {
    if (player.current?.id === id) player.seek(s);
    else player.play({ ...clip(), fromS: s }).catch((error) => toastError(error));
  };
}

function head(name, about, buttons, onClear) {
  const another = h(
    "button",
    { class: "btn btn--small", type: "button", onclick: onClear },
    icon("close", { size: 14 }),
    "Another sound",
  );
  return h(
    "div",
    { class: "panel__head source__head" },
    h("h2", { class: "clip", title: name }, name),
    h("span", { class: "muted small source__about" }, about),
    buttons,
    another,
  );
}

/**
 * @param {any} clip  as GET /v1/clips/… tells @param {{region: {from: number, to: number}|null, onRegion: (region: any) => void, onClear: () => void}} options
 */
export function clipSound(clip, { region: first, onRegion, onClear }) {
  const id = `clip ${clip.clip_id}`;
  let region = first;
  const all = { from: 0, to: clip.duration_s, playerId: id };
  const play = playButton({
    id,
    clip: () => stretchClip("clips", clip.clip_id, { ...all, ...region }),
    label: "Play the region",
  });
  const text = h("span", { class: "source__region tabular" });
  const whole = h(
    "button",
    {
      class: "btn btn--small btn--quiet",
      type: "button",
      onclick: () => {
        set(null);
        onRegion(null);
      },
    },
    "Whole sound",
  );
  const picture = spectrogram({
    src: `clips/${encodeURIComponent(clip.clip_id)}/spectrogram`,
    params: { ...SIZE, from_s: 0, to_s: clip.duration_s },
    alt: `Spectrogram of ${clip.name}, ${seconds(clip.duration_s)}`,
    startS: 0,
    endS: clip.duration_s,
    height: HEIGHT,
    lazy: false,
    playerId: id,
    region,
    regionMin: Math.min(REGION_MIN_S, clip.duration_s),
    onRegion: (next, done) => {
      // A region that is all of the clip is none.
      region = next && (next.from > 0.01 || next.to < clip.duration_s - 0.01) ? next : null;
      draw();
      if (done) onRegion(region);
    },
    onSeek: seekIn(id, () => stretchClip("clips", clip.clip_id, all)),
  });

  function draw() {
    text.textContent = region
      ? `${offset(region.from, 2)} – ${offset(region.to, 2)} of ${seconds(clip.duration_s)}`
      : `all ${seconds(clip.duration_s)}`;
    whole.hidden = !region;
  }

  function set(next) {
    region = next;
    picture.setRegion(next);
    draw();
  }
  draw();
  return {
    parts: [
      head(clip.name, text, whole, onClear),
      h("div", { class: "source__pic" }, picture.el, play.el),
      h("p", { class: "source__hint muted tiny" }, "Drag over the part you mean."),
    ],
    set,
    toggle: () => play.el.click(),
    destroy() {
      picture.destroy();
      play.destroy();
    },
  };
}

/** @param {any} window  as GET /v1/windows/… tells @param {{onClear: () => void}} options */
export function windowSound(window, { onClear }) {
  const id = `query ${window.window_id}`;
  const margin = Math.max(MARGIN_MIN_S, prefs.get("margin_s"));
  const clip = () => ({ ...windowClip(window, { margin }), id });
  const play = playButton({
    id,
    clip: () => ({ ...clip(), fromS: window.start_s, toS: window.end_s }),
    label: "Play the window",
  });
  const picture = spectrogram({
    ...windowPicture(window, { margin, ...SIZE }),
    alt: `Spectrogram of the window searched for, ${window.path} at ${offset(window.start_s)}`,
    height: HEIGHT,
    lazy: false,
    playerId: id,
    onSeek: (s) => seekIn(id, clip)(Math.max(s, originOf(window, margin))),
  });
  const title = [window.site, localTime(window.local_start)].filter(Boolean).join(" · ");
  const about = `${fileName(window.path)} at ${offset(window.start_s)}`;
  const open = h("a", { class: "btn btn--small btn--quiet", href: recordingHref(window) }, "Open the recording");
  return {
    parts: [
      head(title, null, open, onClear),
      h("div", { class: "source__pic" }, picture.el, play.el),
      h("p", { class: "source__hint muted tiny clip" }, about),
    ],
    set: () => {},
    toggle: () => play.el.click(),
    destroy() {
      picture.destroy();
      play.destroy();
    },
  };
}

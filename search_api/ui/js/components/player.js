/** One <audio> for the whole page: what plays is stopped by what plays next. A cursor follows it on every screen refresh. */

/**
 * @typedef {object} Clip
 * @property {string} id  who is playing, as a window's id; spectrograms of this id show the cursor
 * @property {string} src  address of the audio
 * @property {number} originS  time, in the spectrogram's seconds, of the audio's first sample
 * @property {number} [fromS]  start here (spectrogram's seconds); the audio's start by default
 * @property {number} [toS]  stop here; the audio's end by default
 * @property {number} [rate]  seconds of sound per second of this audio: 0.1 if the service slowed it down ten times (`speed=0.1`)
 * @property {() => void} [onEnd]  called when it ended by itself
 */

const audio = new Audio();
audio.preload = "auto";
/** @type {Clip|null} */
let clip = null;
let frame = 0;
let waiting = false;
const listeners = new Set();
const cursors = new Map();
/** @type {HTMLAudioElement|null} */
let ahead = null;

const toAudio = (s) => Math.max(0, (s - clip.originS) / (clip.rate || 1));
const toSound = (s) => clip.originS + s * (clip.rate || 1);

function tell() {
  const now = { id: clip?.id ?? null, playing: player.playing, waiting };
  for (const listener of listeners) listener(now);
}

function paint(id, at) {
  for (const cursor of cursors.get(id) || []) cursor(at);
}

function tick() {
  if (!clip) return;
  const at = toSound(audio.currentTime);
  paint(clip.id, at);
  if (clip.toS !== undefined && at >= clip.toS) return finish();
  frame = requestAnimationFrame(tick);
}

function finish() {
  const ended = clip;
  player.stop();
  ended?.onEnd?.();
}

export const player = {
  get current() {
    return clip;
  },
  get playing() {
    return Boolean(clip) && !audio.paused;
  },

  /** Play; what played before is stopped. Rejects only if the audio cannot be read. @param {Clip} next */
  async play(next) {
    player.stop();
    clip = next;
    waiting = true;
    tell();
    if (audio.error || audio.getAttribute("src") !== next.src) audio.src = next.src;
    try {
      if (audio.readyState < 1) await ready(next);
      if (clip !== next) return;
      audio.currentTime = toAudio(next.fromS ?? next.originS);
      await audio.play();
    } catch (error) {
      if (clip !== next) return;
      clip = null;
      waiting = false;
      paint(next.id, null);
      tell();
      if (error.name === "AbortError") return;
      throw Object.assign(
        new Error(
          error.name === "NotAllowedError"
            ? "the browser plays sound only after a click or a key"
            : "this sound cannot be played: is the recording where it was?",
        ),
        { kind: error.name },
      );
    }
    if (clip !== next) return;
    waiting = false;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(tick);
    tell();
  },

  /** Play, or stop if this is what plays. @param {Clip} next */
  toggle(next) {
    if (clip?.id === next.id) {
      player.stop();
      return Promise.resolve();
    }
    return player.play(next);
  },

  stop() {
    cancelAnimationFrame(frame);
    audio.pause();
    const before = clip;
    clip = null;
    waiting = false;
    if (before) {
      paint(before.id, null);
      tell();
    }
  },

  /** Go to a second of the sound (the spectrogram's seconds) in what plays. */
  seek(s) {
    if (clip) audio.currentTime = toAudio(s);
  },

  /** Fetch what will probably be played next. */
  preload(src) {
    if (!src || ahead?.src.endsWith(src)) return;
    ahead = new Audio();
    ahead.preload = "auto";
    ahead.src = src;
  },

  /** Call `listener({id, playing, waiting})` at each change; returns a function that stops it. */
  on(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },

  /** Call `cursor(seconds)` on every refresh while `id` plays, and `cursor(null)` after; returns a function that stops it. */
  follow(id, cursor) {
    if (!cursors.has(id)) cursors.set(id, new Set());
    cursors.get(id).add(cursor);
    return () => {
      cursors.get(id)?.delete(cursor);
      if (!cursors.get(id)?.size) cursors.delete(id);
    };
  },
};

function ready(wanted) {
  return new Promise((done, fail) => {
    const stop = () => {
      audio.removeEventListener("loadedmetadata", good);
      audio.removeEventListener("error", bad);
      off();
    };
    const good = () => {
      stop();
      done();
    };
    const bad = () => {
      stop();
      fail(audio.error || new Error("no audio"));
    };
    const off = player.on(() => clip !== wanted && good());
    audio.addEventListener("loadedmetadata", good);
    audio.addEventListener("error", bad);
  });
}

audio.addEventListener("ended", () => clip && finish());

/** How a window is heard and seen: addresses of its audio and spectrogram, and the clip for the player. */
import { url } from "../core/api.js";
import { prefs } from "../core/store.js";

/**
 * @typedef {{window_id: string, recording_id: string, path: string, start_s: number, end_s: number, [more: string]: any}} Window
 */

const part = (id) => encodeURIComponent(id);

/** Parameters of audio from the settings. */
function audioParams() {
  const speed = prefs.get("speed");
  const gain = prefs.get("gain_db");
  return { speed: speed === 1 ? null : speed, gain_db: gain || null };
}

/** Where the audio of a window begins, with its margin: never before the recording. */
export const originOf = (window, margin) => Math.max(0, window.start_s - margin);

/**
 * The player's clip of a window, with the margin of the settings.
 * @param {Window} window @param {{margin?: number, onEnd?: () => void}} [options]
 * @returns {import("./player.js").Clip}
 */
export function windowClip(window, { margin = prefs.get("margin_s"), onEnd } = {}) {
  return {
    id: window.window_id,
    src: url(`windows/${part(window.window_id)}/audio`, { margin_s: margin, form: "wav", ...audioParams() }),
    originS: originOf(window, margin),
    rate: prefs.get("speed"),
    onEnd,
  };
}

/**
 * The player's clip of a stretch of a recording or of an uploaded clip.
 * @param {"recordings"|"clips"} kind @param {string} id @param {{from: number, to: number, playerId: string, onEnd?: () => void}} options
 */
export function stretchClip(kind, id, { from, to, playerId, onEnd }) {
  return {
    id: playerId,
    src: url(`${kind}/${part(id)}/audio`, { from_s: from, to_s: to, form: "wav", ...audioParams() }),
    originS: from,
    rate: prefs.get("speed"),
    onEnd,
  };
}

/** Address and parameters of a window's spectrogram. @param {Window} window */
export function windowPicture(window, { margin = prefs.get("margin_s"), width = 400, height = 220 } = {}) {
  return {
    src: `windows/${part(window.window_id)}/spectrogram`,
    params: { width, height, margin_s: margin },
    startS: Math.max(0, window.start_s - margin),
    endS: window.end_s + margin,
    mark: { from: window.start_s, to: window.end_s },
  };
}

/** Address of the view of a recording, at a second of it. */
export const recordingHref = (window) =>
  `/recordings/${part(window.recording_id)}?at=${Number(window.start_s.toFixed(2))}`;

/** Address of a search by a window. */
export const similarHref = (window) => `/search?window=${part(window.window_id)}`;

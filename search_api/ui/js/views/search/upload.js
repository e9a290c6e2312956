/** From a file or the microphone to a clip on the service's shelf. */
import { api } from "../../core/api.js";
import { h, replace } from "../../core/dom.js";
import { bytes, offset } from "../../core/format.js";
import { icon } from "../../core/icons.js";
import { info } from "../../core/shell.js";
import { toast } from "../../core/toast.js";
import { toWav } from "../../core/wav.js";

export const ACCEPT = "audio/*,.wav,.flac,.ogg,.opus,.mp3,.aif,.aiff";
const RECORD_MAX_S = 120;

/**
 * Send a sound; what the service cannot read but this browser can is sent once more as WAV.
 * @param {Blob & {name?: string}} file @param {{onProgress: (share: number) => void, signal: AbortSignal}} options
 * @returns {Promise<{clip_id: string, name: string, duration_s: number}>}
 */
export async function sendClip(file, { onProgress, signal }) {
  const name = file.name || "recording.wav";
  const { limits } = await info();
  if (limits?.body_bytes && file.size > limits.body_bytes)
    throw Object.assign(
      new Error(
        `${name} has ${bytes(file.size)}; at most ${bytes(limits.body_bytes)} are taken. Cut out the part you mean, or embed the file as a recording.`,
      ),
      { kind: "too_large" },
    );
  try {
    return (await api.upload("clips", file, { name }, onProgress, { signal })).data;
  } catch (error) {
    if (error.kind !== "unsupported_audio" && error.status !== 415) throw error;
    const wav = await toWav(file).catch(() => {
      throw error;
    });
    return (await api.upload("clips", wav, { name: name.replace(/\.\w+$/, ".wav") }, onProgress, { signal })).data;
  }
}

/**
 * The microphone as a panel with level and time; `onDone(blob or null)`.
 * Echo cancelling and the like are off: they are made for speech and take birds away.
 */
export function recorder({ onDone }) {
  const level = h("i", { class: "rec__level" });
  const time = h("span", { class: "rec__time tabular" }, "0:00");
  const message = h("span", { class: "grow" }, "Waiting for the microphone…");
  const stopButton = h(
    "button",
    { class: "btn btn--primary", type: "button", disabled: true, onclick: () => stop(true) },
    icon("stop", { size: 16 }),
    "Stop and search",
  );
  const el = h(
    "div",
    { class: "rec", role: "group", "aria-label": "Recording" },
    h("span", { class: "rec__dot", "aria-hidden": "true" }),
    message,
    time,
    h("span", { class: "rec__meter", "aria-hidden": "true" }, level),
    stopButton,
    h("button", { class: "btn", type: "button", onclick: () => stop(false) }, "Cancel"),
  );
  let media = null;
  let tape = null;
  let context = null;
  let frame = 0;
  let wanted = true;
  let ended = false;

  async function begin() {
    try {
      if (!navigator.mediaDevices)
        throw new Error("a browser gives the microphone only to pages on this computer or over https");
      media = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
      if (ended) return release();
      tape = new MediaRecorder(media);
      const parts = [];
      tape.ondataavailable = (event) => parts.push(event.data);
      tape.onstop = async () => {
        release();
        if (!wanted) return onDone(null);
        replace(message, "Preparing…");
        const wav = await toWav(new Blob(parts, { type: tape.mimeType })).catch(() => null);
        if (!wav)
          toast("Nothing was recorded: that was too short, or the microphone gave no sound.", { kind: "error" });
        const name = `microphone ${new Date().toTimeString().slice(0, 8).replaceAll(":", ".")}.wav`;
        return onDone(wav && Object.assign(wav, { name }));
      };
      tape.start();
      replace(message, "Recording");
      stopButton.disabled = false;
      stopButton.focus();
      watch();
    } catch (error) {
      release();
      const told =
        error.name === "NotAllowedError"
          ? "The browser was not allowed to use the microphone."
          : error.name === "NotFoundError"
            ? "There is no microphone."
            : error.message;
      replace(message, told);
      el.classList.add("is-off");
    }
    return undefined;
  }

  function watch() {
    context = new AudioContext();
    const ear = context.createAnalyser();
    context.createMediaStreamSource(media).connect(ear);
    const wave = new Float32Array(ear.fftSize);
    const began = performance.now();
    const look = () => {
      ear.getFloatTimeDomainData(wave);
      const peak = wave.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-5);
      level.style.transform = `scaleX(${Math.min(1, Math.max(0, 1 + Math.log10(peak) / 2.5))})`;
      const s = (performance.now() - began) / 1000;
      time.textContent = offset(Math.floor(s), 0);
      if (s > RECORD_MAX_S) return stop(true);
      frame = requestAnimationFrame(look);
      return undefined;
    };
    look();
  }

  function release() {
    cancelAnimationFrame(frame);
    context?.close();
    context = null;
    for (const track of media?.getTracks() || []) track.stop();
  }

  function stop(use) {
    if (ended) return;
    ended = true;
    wanted = use;
    if (tape?.state === "recording") tape.stop();
    else {
      release();
      onDone(null);
    }
  }
  begin();
  return { el, stop };
}

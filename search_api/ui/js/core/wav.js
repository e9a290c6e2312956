/** Sound that the browser can read, as a WAV file (16-bit PCM), which the service reads for certain. */

/**
 * @param {Float32Array[]} channels  of equal length, -1 to 1
 * @param {number} rate  samples per second
 * @returns {Blob}
 */
export function encodeWav(channels, rate) {
  const frames = channels[0].length;
  const bytes = frames * channels.length * 2;
  const view = new DataView(new ArrayBuffer(44 + bytes));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * channels.length * 2, true);
  view.setUint16(32, channels.length * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  let at = 44;
  for (let i = 0; i < frames; i += 1)
    for (const channel of channels) {
      const x = Math.max(-1, Math.min(1, channel[i]));
      view.setInt16(at, Math.round(x * 32767), true);
      at += 2;
    }
  return new Blob([view], { type: "audio/wav" });
}

/** Decode anything the browser knows and write it as mono WAV; rejects if the browser cannot read it. @param {Blob} blob */
export async function toWav(blob) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    const mono = new Float32Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c += 1) {
      const channel = sound.getChannelData(c);
      for (let i = 0; i < mono.length; i += 1) mono[i] += channel[i] / sound.numberOfChannels;
    }
    return encodeWav([mono], sound.sampleRate);
  } finally {
    context.close();
  }
}

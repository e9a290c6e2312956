/** Frequency and time axes: round ticks, and where a value lies on a linear or a mel scale. */

const MEL_BREAK_HZ = 1000;
const MEL_STEP = Math.log(6.4) / 27;

/** Slaney's mel scale, as librosa draws it. */
export const mel = (hz) => (hz < MEL_BREAK_HZ ? (3 * hz) / 200 : 15 + Math.log(hz / MEL_BREAK_HZ) / MEL_STEP);

/** Where `hz` lies between the picture's bottom (0) and top (1). */
export function heightOf(hz, minHz, maxHz, scale = "linear") {
  if (scale !== "mel") return (hz - minHz) / (maxHz - minHz);
  return (mel(hz) - mel(minHz)) / (mel(maxHz) - mel(minHz));
}

/** The inverse of heightOf. */
export function hzAt(share, minHz, maxHz, scale = "linear") {
  if (scale !== "mel") return minHz + share * (maxHz - minHz);
  const m = mel(minHz) + share * (mel(maxHz) - mel(minHz));
  return m < 15 ? (200 * m) / 3 : MEL_BREAK_HZ * Math.exp((m - 15) * MEL_STEP);
}

/** Round values between `low` and `high`, about `wanted` of them. */
export function ticks(low, high, wanted = 4) {
  const span = high - low;
  if (!(span > 0)) return [];
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= rough * 0.999) ?? 10);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i += 1)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

const MEL_TICKS_HZ = [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000];

/** Ticks of a frequency axis, in Hz. */
export function hzTicks(minHz, maxHz, scale, wanted = 4) {
  if (scale !== "mel") return ticks(minHz, maxHz, wanted);
  return MEL_TICKS_HZ.filter((hz) => hz >= minHz && hz <= maxHz);
}

const TIME_STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

/** Ticks of a time axis, in seconds: of steps that fit a clock. */
export function timeTicks(fromS, toS, wanted = 6) {
  const rough = (toS - fromS) / wanted;
  const step = TIME_STEPS_S.find((s) => s >= rough * 0.999) ?? 14400;
  const found = [];
  for (let i = Math.ceil(fromS / step - 1e-9); i * step <= toS + 1e-9; i += 1)
    found.push(Number((i * step).toFixed(3)));
  return found;
}

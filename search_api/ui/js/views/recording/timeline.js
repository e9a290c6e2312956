/** The windows of a recording, in order. */
import { api } from "../../core/api.js";

const ANSWER_MAX = 10000; // windows in one answer

/**
 * All windows so far, again and again until there are no more: those of a very long recording come in several answers.
 * @param {any} recording @param {AbortSignal} signal
 */
export async function* timeline(recording, signal) {
  const path = `recordings/${encodeURIComponent(recording.recording_id)}/timeline`;
  const own = { recording_id: recording.recording_id, path: recording.path };
  let windows = [];
  for (let fromS = 0; ;) {
    const { data } = await api.get(path, { from_s: fromS || null }, { signal });
    const last = windows.at(-1)?.start_s ?? -1;
    const added = data.windows.filter((w) => w.start_s > last).map((w) => ({ ...own, ...w }));
    windows = [...windows, ...added];
    yield windows;
    if (!added.length || data.windows.length < ANSWER_MAX) return;
    fromS = windows.at(-1).start_s;
  }
}

/** Judging in the views of the archive: a window, by what all views share, or a span of a recording; and taking the newest back. */
import { outbox } from "../core/api.js";
import { speciesName } from "../core/format.js";
import { prefs, undo } from "../core/store.js";
import { toast, toastError } from "../core/toast.js";
import { judging } from "../components/judging.js";

export const WORDS = { positive: "yes", negative: "no", uncertain: "unsure" };

/**
 * Judge a window or a span. It can be taken back with `undoLast`.
 * @param {{target: {window_id?: string, recording_id?: string, start_s?: number, end_s?: number}, label: string, judgement: "positive"|"negative"|"uncertain",
 *   provenance: string, onUndo?: () => void}} about
 */
export function judge({ target, label, judgement, provenance, onUndo }) {
  if (target.window_id) {
    // The same said again changes nothing at the service, and is still a step that can be taken back here.
    if (!judging.judge(target, label, judgement, { provenance, onUndo }))
      undo.push({ label: `${WORDS[judgement]} for ${speciesName(label)}`, run: () => onUndo?.() });
    return;
  }
  const sent = outbox.send("annotations", {
    annotator: prefs.get("annotator") || undefined,
    provenance,
    annotations: [{ ...target, label, judgement }],
  });
  sent.answer.catch((error) => {
    onUndo?.();
    toastError(error, "Not kept");
  });
  undo.push({
    label: `${WORDS[judgement]} for ${speciesName(label)}`,
    run() {
      onUndo?.();
      if (outbox.cancel(sent.id)) return;
      if (outbox.isWaiting(sent.id)) outbox.send("annotations/undo", {}, { needs: sent.id });
      else
        sent.answer.then(
          ({ annotations }) => outbox.send("annotations/undo", { annotation_id: annotations[0].annotation_id }),
          () => {},
        );
    },
  });
}

/** Take the newest judgement back, and say so. */
export async function undoLast() {
  try {
    const entry = await undo.pop();
    toast(
      entry
        ? `Taken back: ${entry.label.replace(/ for (.+)$/, (_, label) => ` for ${speciesName(label)}`)}`
        : "There is nothing to take back",
    );
  } catch (error) {
    toastError(error, "Could not be taken back");
  }
}

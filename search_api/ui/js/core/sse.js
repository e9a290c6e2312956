/** Server-sent events by fetch: with a session cookie, abortable, and taken up again after the last event that came. */
import { ApiError, request, sleep, url } from "./api.js";
import { service } from "./service.js";

/**
 * Follow a stream until it ends, `signal` is aborted or `onEvent` returns false.
 * @param {string} path
 * @param {(event: {type: string, data: any, id: string}) => any} onEvent
 * @param {{signal?: AbortSignal, params?: any}} [options]
 */
export async function stream(path, onEvent, { signal, params } = {}) {
  let last = "";
  for (let tries = 0; ;) {
    const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
    const response = await request(url(path, params), { headers, signal, cache: "no-store" }, { repeat: true });
    try {
      for await (const event of events(response)) {
        tries = 0;
        if (event.id) last = event.id;
        if (onEvent(event) === false) return;
      }
      return;
    } catch (error) {
      if (signal?.aborted) throw new ApiError({ kind: "aborted", message: "no longer wanted" });
      if (!(error instanceof TypeError)) throw error; // a TypeError is a lost connection
      tries += 1;
      service.lost();
      await sleep(Math.min(500 * tries, 5000), signal);
    }
  }
}

/** @param {Response} response */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value.replaceAll("\r\n", "\n");
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** One block of the stream; null for a comment, which only keeps the connection. */
export function parse(block) {
  const event = { type: "message", data: "", id: "" };
  const lines = [];
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at === 0 || !line) continue;
    const field = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (field === "event") event.type = value;
    else if (field === "data") lines.push(value);
    else if (field === "id") event.id = value;
  }
  if (!lines.length) return null;
  event.data = lines.join("\n");
  try {
    event.data = JSON.parse(event.data);
  } catch {
    // Plain text is allowed.
  }
  return event;
}

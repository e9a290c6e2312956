/**
 * The service's answers. Every call gives `{data, meta}` or throws an `ApiError` with a `kind` and a message for people.
 * Reads are repeated while the service is away or says "later"; what changes something is sent once (judgements go through
 * `outbox`, which keeps them until they are confirmed).
 */
import { service } from "./service.js";

const LATER = new Set([429, 503]);
const TRIES_MAX = 5;

export class ApiError extends Error {
  /** @param {{kind: string, message: string, status?: number, fields?: {where: string, message: string}[], requestId?: string, retryAfterS?: number}} about */
  constructor({ kind, message, status = 0, fields = [], requestId = "", retryAfterS = 0 }) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { kind, status, fields, requestId, retryAfterS });
  }
}

/** An address below /v1 (or one that begins with "/"), with parameters; null, undefined and "" are left out, arrays repeat. */
export function url(path, params = {}) {
  const query = new URLSearchParams();
  const pairs = params instanceof URLSearchParams ? [...params] : Object.entries(params);
  for (const [name, value] of pairs)
    for (const one of [value].flat())
      if (one !== null && one !== undefined && one !== "") query.append(name, String(one));
  const base = path.startsWith("/") ? path : `/v1/${path}`;
  const text = query.toString();
  return base + (text ? `?${text}` : "");
}

/** Wait; rejects when aborted. */
export function sleep(ms, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        fail(aborted());
      },
      { once: true },
    );
  });
}

const aborted = () => new ApiError({ kind: "aborted", message: "no longer wanted" });

/** The error that an answer which is not 2xx tells of. @param {Response} response */
export async function errorOf(response) {
  let told = {};
  try {
    told = (await response.json()).error || {};
  } catch {
    // A proxy's page, or cut off: the status must do.
  }
  if (response.status === 401) window.dispatchEvent(new Event("sonotheque-key"));
  return new ApiError({
    kind: told.kind || (response.status >= 500 ? "unavailable" : "invalid"),
    message: told.message || `the service answered ${response.status} ${response.statusText}`.trim(),
    status: response.status,
    fields: told.fields,
    requestId: told.request_id,
    retryAfterS: Number(response.headers.get("Retry-After")) || 0,
  });
}

/**
 * A fetch that follows the rules above and gives the answer itself (for pictures and files).
 * @param {string} address @param {RequestInit} [init] @param {{repeat?: boolean}} [how]
 * @returns {Promise<Response>}
 */
export async function request(address, init = {}, { repeat = false } = {}) {
  for (let tries = 1; ; tries += 1) {
    let response;
    try {
      response = await fetch(address, { credentials: "same-origin", ...init });
    } catch (error) {
      if (init.signal?.aborted || error.name === "AbortError") throw aborted();
      service.lost();
      if (!repeat) throw new ApiError({ kind: "away", message: "the service does not answer" });
      await service.back(init.signal).catch(() => {
        throw aborted();
      });
      continue;
    }
    if (response.status !== 502 && response.status !== 504) service.found();
    if (response.ok || response.status === 304) return response;
    const error = await errorOf(response);
    if (!repeat || !LATER.has(response.status) || tries >= TRIES_MAX) throw error;
    // A little chance in the wait, so that many cards do not come back at the same moment.
    await sleep(1000 * Math.min(error.retryAfterS || 2 ** (tries - 2), 20) * (0.8 + 0.4 * Math.random()), init.signal);
  }
}

async function json(address, init, how) {
  const response = await request(address, init, how);
  if (response.status === 204) return { data: null, meta: {} };
  try {
    const body = await response.json();
    return { data: body.data, meta: body.meta || {} };
  } catch (error) {
    if (init.signal?.aborted || error.name === "AbortError") throw aborted();
    throw new ApiError({
      kind: "damaged",
      message: "the service's answer was cut off or is not JSON",
      status: response.status,
    });
  }
}

export const api = {
  /** @param {string} path  "windows" is /v1/windows @param {any} [params] @param {{signal?: AbortSignal}} [options] */
  get: (path, params, { signal } = {}) =>
    json(url(path, params), { signal, headers: { Accept: "application/json" } }, { repeat: true }),

  /** `repeat`: true for a question that changes nothing (a search). @param {{signal?: AbortSignal, repeat?: boolean, params?: any}} [options] */
  post: (path, body = {}, { signal, repeat = false, params } = {}) =>
    json(
      url(path, params),
      {
        method: "POST",
        signal,
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        body: JSON.stringify(body),
      },
      { repeat },
    ),

  delete: (path, params, { signal } = {}) => json(url(path, params), { method: "DELETE", signal }, {}),

  /** All pages of a list, up to `max` rows. @returns {Promise<any[]>} */
  async all(path, params = {}, { signal, max = 5000 } = {}) {
    const rows = [];
    let cursor = null;
    do {
      const { data, meta } = await api.get(path, { ...params, cursor }, { signal });
      rows.push(...data);
      cursor = meta.next;
    } while (cursor && rows.length < max);
    return rows;
  },

  /**
   * Send a file as the raw body. `onProgress(share)` from 0 to 1 while it is sent (fetch cannot tell this, XMLHttpRequest can).
   * @param {string} path @param {Blob} blob @param {any} [params] @param {(share: number) => void} [onProgress] @param {{signal?: AbortSignal}} [options]
   */
  upload(path, blob, params, onProgress, { signal } = {}) {
    return new Promise((done, fail) => {
      const xhr = new XMLHttpRequest();
      xhr.open("POST", url(path, params));
      xhr.setRequestHeader("Content-Type", blob.type || "application/octet-stream");
      xhr.setRequestHeader("Accept", "application/json");
      xhr.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
      xhr.onload = async () => {
        service.found();
        const response = new Response(xhr.responseText, {
          status: xhr.status || 500,
          statusText: xhr.statusText,
          headers: { "Retry-After": xhr.getResponseHeader("Retry-After") || "" },
        });
        if (!response.ok) return fail(await errorOf(response));
        const body = JSON.parse(xhr.responseText);
        return done({ data: body.data, meta: body.meta || {} });
      };
      xhr.onerror = () => {
        // A service that refuses a body early closes the connection; only a probe tells this from being away.
        service.lost();
        fail(
          new ApiError({
            kind: "away",
            message: "the file could not be sent: the service closed the connection or does not answer",
          }),
        );
      };
      xhr.onabort = () => fail(aborted());
      signal?.addEventListener("abort", () => xhr.abort(), { once: true });
      xhr.send(blob);
    });
  },
};

export { outbox } from "./outbox.js";
export { service } from "./service.js";
export { stream } from "./sse.js";

/** A job as it goes on: by server-sent events, and by asking again where those do not come through. */
import { api, sleep, stream } from "../../core/api.js";
import { hasEnded } from "./words.js";

const POLL_MS = 2000;

/**
 * Call `onJob(job, event)` at each change until the job has ended; resolves with it. Rejects if the job is not known, or `signal` is aborted.
 * @param {string} id
 * @param {(job: any, event: {type: string, data: any}|null) => void} onJob
 * @param {{signal: AbortSignal}} options
 */
export async function follow(id, onJob, { signal }) {
  const path = `jobs/${encodeURIComponent(id)}`;
  let { data: job } = await api.get(path, {}, { signal });
  onJob(job, null);
  for (; !hasEnded(job);) {
    try {
      await stream(
        `${path}/events`,
        (event) => {
          job = merged(job, event);
          onJob(job, event);
          return !hasEnded(job);
        },
        { signal },
      );
    } catch (error) {
      if (signal.aborted || error.kind === "aborted") throw error;
      // No events through this proxy, or too many listeners: ask instead.
    }
    if (!hasEnded(job)) await sleep(POLL_MS, signal);
    ({ data: job } = await api.get(path, {}, { signal }));
    onJob(job, null);
  }
  return job;
}

/** The job with what an event says: `progress` holds a progress, `state` a job or a state. */
export function merged(job, { type, data }) {
  if (!data || typeof data !== "object") return job;
  if (type === "progress") return { ...job, progress: { ...job.progress, ...(data.progress ?? data) } };
  if (type === "state") return { ...job, ...data };
  return job;
}

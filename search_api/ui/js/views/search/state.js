/** The search in the address: read from it, and what it means for the service. */
import { filterJson } from "../../components/filter_values.js";

export const K_DEFAULT = 50;
const number = (text) => (text === null || text === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/**
 * @param {URLSearchParams} params
 */
export function readState(params) {
  return {
    clip: params.get("clip"),
    window: params.get("window"),
    from: number(params.get("from")),
    to: number(params.get("to")),
    k: number(params.get("k")) ?? K_DEFAULT,
    bestPer: params.get("best_per"),
    distinct: number(params.get("distinct")),
    near: number(params.get("near")),
    combine: params.get("combine") === "mean" ? "mean" : "best",
    exact: params.get("exact") === "1",
    own: params.get("own") === "1",
    density: [1, 2, 3].find((n) => String(n) === params.get("density")) ?? 0,
    selected: params.get("sel"),
    label: params.get("as"),
  };
}

/** What is heard: the part of a request that says which sound is meant; null without one. */
export function soundOf(state) {
  if (state.clip) return { clip: state.clip, ...(state.from === null ? {} : { from_s: state.from, to_s: state.to }) };
  return state.window ? { window: state.window } : null;
}

/** The body of POST /v1/search; null if nothing is searched for. @param {URLSearchParams} params */
export function searchBody(params) {
  const state = readState(params);
  const sound = soundOf(state);
  if (!sound) return null;
  const body = { ...sound, k: state.k, filter: filterJson(params) };
  if (state.bestPer) body.best_per = state.bestPer;
  if (state.distinct !== null) body.distinct = state.distinct;
  if (state.near !== null) body.near_score = state.near;
  if (state.clip && state.combine === "mean") body.combine = "mean";
  if (state.exact) body.exact = true;
  if (state.window && state.own) body.own_recording = true;
  return body;
}

/** Changes of the address that begin another search: options and filter stay, what belonged to the sound goes. */
export const newSound = (sound) => ({
  clip: null,
  window: null,
  from: null,
  to: null,
  sel: null,
  near: null,
  ...sound,
});

/** Which view is shown, and its state: all of it in the address, so that back, reload and a sent link work. */

/**
 * @typedef {{update?: (ctx: Ctx) => void, unmount?: () => void}} View
 * @typedef {{params: URLSearchParams, path: Record<string, string>, route: string, signal: AbortSignal}} Ctx
 */

const ROUTES = [
  { name: "search", pattern: /^\/(?:search)?$/, module: "../views/search.js", css: "search", title: "Search" },
  { name: "archive", pattern: /^\/archive$/, module: "../views/archive.js", css: "archive", title: "Archive" },
  {
    name: "recording",
    pattern: /^\/recordings\/(?<id>[^/]+)$/,
    module: "../views/recording.js",
    css: "archive",
    title: "Recording",
  },
  { name: "probes", pattern: /^\/probes$/, module: "../views/probes.js", css: "probes", title: "Probes" },
  {
    name: "review",
    pattern: /^\/probes\/(?<name>[^/]+)\/review$/,
    module: "../views/review.js",
    css: "probes",
    title: "Review",
  },
  { name: "probe", pattern: /^\/probes\/(?<name>[^/]+)$/, module: "../views/probe.js", css: "probes", title: "Probe" },
  { name: "jobs", pattern: /^\/jobs$/, module: "../views/jobs.js", css: "jobs", title: "Jobs" },
  { name: "job", pattern: /^\/jobs\/(?<id>[^/]+)$/, module: "../views/job.js", css: "jobs", title: "Job" },
];

const watchers = new Set();
let outlet = null;
let failed = () => {};
/** @type {{route: any, key: string, view: View, stop: AbortController}|null} */
let shown = null;
let turn = 0;

/** The address's parameters (a copy). */
export const params = () => new URLSearchParams(location.search);

/** The parameters with changes: null, undefined, "" and [] remove one, an array repeats it. @returns {URLSearchParams} */
export function withParams(changes, base = params()) {
  const next = new URLSearchParams(base);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of [value].flat())
      if (one !== null && one !== undefined && one !== "" && one !== false) next.append(name, String(one));
  }
  return next;
}

/**
 * Change parameters of this view's address; the view's `update` is called.
 * @param {Record<string, any>} changes  as `withParams`
 * @param {{replace?: boolean, silent?: boolean}} [how]  replace: no step for the back button; silent: do not call the view
 */
export function setParams(changes, { replace = false, silent = false } = {}) {
  const text = withParams(changes).toString();
  const url = location.pathname + (text ? `?${text}` : "");
  if (url === location.pathname + location.search) return;
  keepScroll();
  history[replace ? "replaceState" : "pushState"](replace ? history.state : {}, "", url);
  if (!silent) show();
}

/** An address: `href("/search", {window: "1:2"})`. */
export function href(path, changes = {}) {
  const text = withParams(changes, new URLSearchParams()).toString();
  return path + (text ? `?${text}` : "");
}

/** Go to an address of this page. */
export function navigate(url, { replace = false } = {}) {
  keepScroll();
  history[replace ? "replaceState" : "pushState"]({}, "", url);
  show();
}

/** Call `watcher(name)` whenever another view is shown. */
export function onRoute(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** Start: `root` gets the views; `onError(error, root, retry)` shows what went wrong in one. */
export function start(root, onError) {
  outlet = root;
  failed = onError;
  history.scrollRestoration = "manual";
  window.addEventListener("popstate", (event) => show(event.state?.scroll ?? 0));
  document.addEventListener("click", onClick);
  return show();
}

function keepScroll() {
  history.replaceState({ ...history.state, scroll: window.scrollY }, "");
}

function onClick(event) {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return;
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.hash && link.pathname === location.pathname) return;
  if (!match(link.pathname)) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}

function match(pathname) {
  const clean = pathname.length > 1 ? pathname.replace(/\/$/, "") : pathname;
  for (const route of ROUTES) {
    const m = route.pattern.exec(clean);
    if (m)
      return { route, path: Object.fromEntries(Object.entries(m.groups || {}).map(([k, v]) => [k, safeDecode(v)])) };
  }
  return null;
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function show(scroll) {
  const found = match(location.pathname);
  if (!found) return navigate("/search", { replace: true });
  const { route, path } = found;
  const key = `${route.name} ${JSON.stringify(path)}`;
  if (shown?.key === key) {
    shown.view.update?.({ params: params(), path, route: route.name, signal: shown.stop.signal });
    if (scroll !== undefined) requestAnimationFrame(() => window.scrollTo(0, scroll));
    return undefined;
  }
  turn += 1;
  const mine = turn;
  leave();
  const stop = new AbortController();
  try {
    const [module] = await Promise.all([import(route.module), sheet(route.css)]);
    if (mine !== turn) return undefined;
    outlet.replaceChildren();
    outlet.dataset.view = route.name;
    document.title = `${route.title} · Sonotheque`;
    shown = { route, key, view: {}, stop };
    for (const watcher of watchers) watcher(route.name);
    const view = await module.mount(outlet, { params: params(), path, route: route.name, signal: stop.signal });
    if (mine === turn) shown.view = view || {};
    else view?.unmount?.();
    window.scrollTo(0, scroll ?? 0);
  } catch (error) {
    if (mine === turn && error.kind !== "aborted") {
      shown = { route, key: "", view: {}, stop };
      for (const watcher of watchers) watcher(route.name);
      failed(error, outlet, () => show());
    }
  }
  return undefined;
}

function leave() {
  if (!shown) return;
  shown.stop.abort();
  shown.view.unmount?.();
  shown = null;
}

const sheets = new Map();

/** A view's own style sheet, loaded once and before the view, so that nothing is shown unstyled. */
function sheet(name) {
  if (!sheets.has(name)) {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = `/ui/css/${name}.css`;
    sheets.set(
      name,
      new Promise((done) => {
        link.onload = link.onerror = done;
      }),
    );
    document.head.append(link);
  }
  return sheets.get(name);
}

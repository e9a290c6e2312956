/** What surrounds every view: brand, places to go, the state of the service and of judgements on their way, and the keys. */
import { api, outbox, service } from "./api.js";
import { h, replace } from "./dom.js";
import { plural } from "./format.js";
import { icon } from "./icons.js";
import { keys } from "./keys.js";
import { navigate, onRoute } from "./router.js";
import { openKeySheet, openOutbox, openSettings } from "./sheets.js";
import { prefs } from "./store.js";

const PLACES = [
  { name: "search", href: "/search", label: "Search", icon: "search", has: ["search"] },
  { name: "archive", href: "/archive", label: "Archive", icon: "archive", has: ["archive", "recording"] },
  { name: "probes", href: "/probes", label: "Probes", icon: "probe", has: ["probes", "probe", "review"] },
  { name: "jobs", href: "/jobs", label: "Jobs", icon: "jobs", has: ["jobs", "job"] },
];

/** @type {Promise<any>|null} */
let asked = null;

/**
 * What the service and its store are (GET /v1), asked once.
 * @returns {Promise<{name: string, version: string, store: any, features: Record<string, any>, you: any, limits: Record<string, number>}>}
 */
export function info() {
  asked ??= api.get("/v1").then(
    ({ data }) => data,
    (error) => {
      asked = null;
      throw error;
    },
  );
  return asked;
}

/** Build the top bar. */
export function buildShell() {
  const store = h("span", { class: "top__store" });
  const links = PLACES.map((p) =>
    h("a", { href: p.href, class: "top__link", dataset: { name: p.name } }, icon(p.icon), h("span", null, p.label)),
  );
  const themeButton = h("button", { class: "iconbtn", type: "button", onclick: nextTheme });
  const badge = h("button", { class: "top__badge", type: "button", hidden: true, onclick: openOutbox });
  replace(
    document.getElementById("top"),
    h(
      "a",
      { class: "top__brand", href: "/search", "aria-label": "Sonotheque, to the search" },
      brandMark(),
      h("span", { class: "top__name" }, "Sonotheque"),
      store,
    ),
    h("nav", { class: "top__nav", "aria-label": "Places" }, links),
    h(
      "div",
      { class: "top__tools" },
      badge,
      h(
        "button",
        {
          class: "iconbtn",
          type: "button",
          "aria-label": "Spectrogram and page settings",
          title: "Settings",
          onclick: openSettings,
        },
        icon("sliders"),
      ),
      themeButton,
      h(
        "button",
        { class: "iconbtn top__keys", type: "button", "aria-label": "Keys", title: "Keys (?)", onclick: openKeySheet },
        icon("keyboard"),
      ),
    ),
  );
  onRoute((name) => {
    for (const link of links) {
      const here = PLACES.find((p) => p.name === link.dataset.name).has.includes(name);
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  });
  const drawTheme = () => {
    const theme = prefs.get("theme");
    document.documentElement.dataset.theme = theme;
    replace(themeButton, icon({ auto: "auto", light: "sun", dark: "moon" }[theme]));
    themeButton.setAttribute("aria-label", `Colours: ${theme}. Change`);
    themeButton.title = `Colours: ${theme}`;
  };
  prefs.on("theme", drawTheme);
  drawTheme();
  outbox.on((state) => drawBadge(badge, state));
  service.on(drawBanner);
  keys.register("Everywhere", [
    { keys: ["?"], label: "Show the keys", run: openKeySheet },
    { keys: ["g"], label: "Go to: then S search, A archive, P probes, J jobs", run: awaitPlace },
  ]);
  info().then(
    (about) => {
      if (about.store?.name) store.textContent = about.store.name;
    },
    () => {},
  );
}

function brandMark() {
  const bars = [4, 12, 20, 10, 4];
  return h(
    "span",
    { class: "top__mark", "aria-hidden": "true" },
    bars.map((high) => h("i", { style: { height: `${high}px` } })),
  );
}

function nextTheme() {
  const order = ["auto", "light", "dark"];
  prefs.set("theme", order[(order.indexOf(prefs.get("theme")) + 1) % order.length]);
}

let placeTimer = 0;

/** After G one key says where; it is forgotten after a second and a half. */
function awaitPlace() {
  const off = keys.register(
    "Go to",
    PLACES.map((p) => ({
      keys: [p.name[0]],
      label: p.label,
      hidden: true,
      run: () => {
        end();
        navigate(p.href);
      },
    })),
  );
  const end = () => {
    clearTimeout(placeTimer);
    off();
  };
  placeTimer = setTimeout(end, 1500);
}

function drawBadge(badge, { waiting, refused }) {
  badge.hidden = !waiting && !refused.length;
  badge.classList.toggle("is-bad", refused.length > 0);
  const text = refused.length ? `${refused.length} refused` : `${waiting} to send`;
  replace(badge, icon(refused.length ? "warn" : "upload", { size: 15 }), text);
  badge.setAttribute(
    "aria-label",
    refused.length
      ? `${plural(refused.length, "judgement")} refused by the service; show`
      : `${plural(waiting, "judgement")} kept here until the service has confirmed them`,
  );
}

let bannerTimer = 0;

function drawBanner(away) {
  const slot = document.getElementById("banner");
  clearInterval(bannerTimer);
  if (!away) {
    slot.replaceChildren();
    return;
  }
  const left = h("span", { class: "tabular", "aria-hidden": "true" });
  const count = () => {
    left.textContent = `Trying again in ${Math.max(0, Math.ceil((service.nextAt - performance.now()) / 1000))} s.`;
  };
  count();
  bannerTimer = setInterval(count, 500);
  replace(
    slot,
    h(
      "div",
      { class: "banner banner--warn" },
      icon("warn"),
      h("span", null, "The service does not answer. What you judge is kept here and sent when it is back. "),
      left,
      h("button", { class: "btn btn--small", type: "button", onclick: () => service.retry() }, "Try now"),
    ),
  );
}

/** Starting an embedding: a configured root and a folder below it, by names only; never a path of the service's machine. */
import { api } from "../../core/api.js";
import { h, replace, uid } from "../../core/dom.js";
import { icon } from "../../core/icons.js";
import { navigate } from "../../core/router.js";
import { empty } from "../../components/empty.js";
import { formError } from "../parts.js";

const NAME = /^(?!\.{1,2}(?:\/|$))[^\\/:*?"<>|\x00-\x1f]+(?:\/(?!\.{1,2}(?:\/|$))[^\\/:*?"<>|\x00-\x1f]+)*$/;

/** Whether a text is names with slashes between them: no root, no "..", nothing that a file system takes for more. */
export const isFolder = (text) => text === "" || NAME.test(text);

/**
 * @param {{sources: {source: string, folders: string[]}[], signal: AbortSignal}} about  of /v1/jobs/sources
 */
export function embedForm({ sources, signal }) {
  if (!sources.length)
    return empty({
      icon: "archive",
      title: "No folder may be embedded from here",
      text: "The service takes recordings only from folders that its settings name. Start it with --ingest NAME=FOLDER, or embed with the command line.",
    });
  const id = uid("embed");
  const source = h(
    "select",
    { class: "input", id: `${id}-source`, required: true, onchange: () => suggest() },
    sources.map((one) => h("option", { value: one.source }, one.source)),
  );
  const folders = h("datalist", { id: `${id}-folders` });
  const folder = h("input", {
    class: "input mono",
    id: `${id}-folder`,
    type: "text",
    placeholder: "site/2025 (empty: all of it)",
    autocomplete: "off",
    spellcheck: "false",
    list: `${id}-folders`,
  });
  const site = h("input", {
    class: "input",
    id: `${id}-site`,
    type: "text",
    placeholder: "from the folders' names",
    autocomplete: "off",
  });
  const zone = h("input", {
    class: "input",
    id: `${id}-zone`,
    type: "text",
    placeholder: "Europe/Berlin",
    autocomplete: "off",
    list: `${id}-zones`,
  });
  const outcome = h("div", { "aria-live": "polite" });
  const go = h("button", { class: "btn btn--primary", type: "submit" }, icon("play"), "Start");
  const field = (name, text, input, hint) =>
    h(
      "div",
      { class: "field" },
      h("label", { class: "field__label", for: `${id}-${name}` }, text),
      input,
      hint && h("span", { class: "field__hint" }, hint),
    );
  function suggest() {
    replace(
      folders,
      (sources.find((one) => one.source === source.value)?.folders || []).map((name) => h("option", { value: name })),
    );
  }
  suggest();
  const zones = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return h(
    "form",
    {
      class: "embed-form",
      onsubmit: async (event) => {
        event.preventDefault();
        const wanted = folder.value.trim().replace(/^\/+|\/+$/g, "");
        if (!isFolder(wanted)) {
          replace(
            outcome,
            formError(
              new Error(
                "The folder is a name below the root, such as site/2025: no “..”, and not a path of the machine.",
              ),
            ),
          );
          folder.focus();
          return;
        }
        go.disabled = true;
        try {
          const { data: job } = await api.post(
            "jobs",
            {
              kind: "embed",
              source: source.value.trim(),
              folder: wanted,
              ...(site.value.trim() && { site: site.value.trim() }),
              ...(zone.value.trim() && { timezone: zone.value.trim() }),
            },
            { signal },
          );
          navigate(`/jobs/${encodeURIComponent(job.job_id)}`);
        } catch (error) {
          if (error.kind === "aborted") return;
          replace(outcome, formError(error));
          go.disabled = false;
        }
      },
    },
    field("source", "Folder of recordings", source),
    field("folder", "Folder below it", folder),
    field("site", "Site", site),
    field("zone", "Time zone, where files do not tell it", zone),
    folders,
    h(
      "datalist",
      { id: `${id}-zones` },
      zones.map((name) => h("option", { value: name })),
    ),
    outcome,
    h("div", { class: "row" }, go, h("span", { class: "muted small" }, "What the archive has already is skipped.")),
  );
}

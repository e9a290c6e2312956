/** A file dropped anywhere on the page is searched for. */
import { h } from "../../core/dom.js";
import { icon } from "../../core/icons.js";

/** @param {{onFile: (file: File) => void, signal: AbortSignal}} options */
export function dropAnywhere({ onFile, signal }) {
  const veil = h(
    "div",
    { class: "veil", hidden: true },
    icon("similar", { size: 40 }),
    h("p", null, "Let go to search for this sound"),
  );
  document.body.append(veil);
  let depth = 0;
  const hasFile = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const on = (name, func) => window.addEventListener(name, func, { signal });
  on("dragenter", (event) => {
    if (!hasFile(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  on("dragleave", (event) => {
    if (!hasFile(event)) return;
    depth = Math.max(0, depth - 1);
    if (!depth) veil.hidden = true;
  });
  on("dragover", (event) => hasFile(event) && event.preventDefault());
  on("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    if (event.dataTransfer.files[0]) onFile(event.dataTransfer.files[0]);
  });
  signal.addEventListener("abort", () => veil.remove(), { once: true });
}

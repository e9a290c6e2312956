/** The page starts here. */
import { errorState } from "./components/empty.js";
import { outbox } from "./core/api.js";
import { start } from "./core/router.js";
import { askForKey } from "./core/session.js";
import { buildShell } from "./core/shell.js";

window.addEventListener("sonotheque-key", () => askForKey(() => location.reload()));
buildShell();
outbox.start();
start(document.getElementById("view"), (error, root, retry) => root.replaceChildren(errorState(error, retry)));

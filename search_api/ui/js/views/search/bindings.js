/** The keys of the search. */

/**
 * @param {Record<string, (...args: any[]) => any>} act
 * @returns {import("../../core/keys.js").Binding[]}
 */
export function bindings(act) {
  const when = () => act.hasHits();
  const judge = (judgement) => () => act.judge(judgement);
  const move = (step, rows) => () => act.move(step, rows);
  return [
    { keys: ["y"], label: "Yes, it is", group: "Judge", when, run: judge("positive") },
    { keys: ["n"], label: "No, it is not", group: "Judge", when, run: judge("negative") },
    { keys: ["u"], label: "Unsure", group: "Judge", when, run: judge("uncertain") },
    { keys: ["z", "Ctrl+z"], label: "Undo the last judgement", group: "Judge", run: act.undo },
    { keys: ["e"], label: "Edit what is judged", group: "Judge", when, run: act.focusLabel },
    { keys: ["Space"], label: "Play or stop", group: "Listen", run: act.play },
    { keys: ["a"], label: "Autoplay on or off", group: "Listen", run: act.autoplay },
    { keys: ["ArrowRight", "l"], label: "Next card", group: "Move", when, run: move(1, false) },
    { keys: ["ArrowLeft", "h"], label: "Previous card", group: "Move", when, run: move(-1, false) },
    { keys: ["ArrowDown", "j"], label: "A row down", group: "Move", when, run: move(1, true) },
    { keys: ["ArrowUp", "k"], label: "A row up", group: "Move", when, run: move(-1, true) },
    { keys: ["Home"], label: "First card", group: "Move", when, run: () => act.jump(0) },
    { keys: ["End"], label: "Last card", group: "Move", when, run: () => act.jump(Infinity) },
    { keys: ["Enter"], label: "Open the recording", group: "Move", when, run: act.open },
    { keys: ["m"], label: "Find more like this", group: "Search", when, run: act.similar },
    { keys: ["x"], label: "Tick for export", group: "Search", when, run: act.tick },
    { keys: ["/"], label: "To the filter", group: "Search", run: act.filter },
    { keys: ["o"], label: "Open a sound file", group: "Search", run: act.choose },
    { keys: ["+", "="], label: "Larger cards", group: "Search", when, run: () => act.density(-1) },
    { keys: ["Escape"], label: "Stop; close the filter", group: "Listen", run: act.close },
    { keys: ["-"], label: "Smaller cards", group: "Search", when, run: () => act.density(1) },
  ];
}

// The keyboard.

const KEYS = [
  ["/", "search layers; Enter goes to the next one that is found"],
  ["+  \u2212  0", "zoom in, out, and to the whole graph; on the clock, of the clock"],
  ["arrows", "move the graph; left and right on the clock, the clock"],
  ["Tab, Enter", "go to the next card, and choose it"],
  ["j  k", "choose the next and the previous layer"],
  ["[  ]", "choose the previous and the next instruction of a stream"],
  ["f", "fold or unfold the block around the chosen layer"],
  ["F", "fold all, or unfold all"],
  ["1  2  3", "show or hide forward, backward, update"],
  ["c", "show or hide the critical path"],
  ["x", "list memory as it is when the chosen instruction begins"],
  ["l  m  s  d", "layer, memory, source; the next difference"],
  ["t", "light, dark"],
  ["Esc", "choose nothing"],
];

/** What a key does; true where it did something. */
function pressKey(page, event) {
  const graph = page.graphOf(page.current);
  const clock = page.clocks.find((each) => each.canvas === document.activeElement);
  const act =
    (clock && clockKey(clock, event.key)) ||
    graphKey(page, graph, event.key) ||
    pageKey(page, graph, event.key);
  if (act) act();
  return Boolean(act);
}

function clockKey(clock, key) {
  return {
    "+": () => zoomClock(clock, 1.5),
    "=": () => zoomClock(clock, 1.5),
    "-": () => zoomClock(clock, 1 / 1.5),
    0: () => showTimes(clock, 0, clock.page.longestStep),
    ArrowLeft: () => panClock(clock, -0.15),
    ArrowRight: () => panClock(clock, 0.15),
  }[key];
}

function graphKey(page, graph, key) {
  return {
    "+": () => zoomGraph(graph, 1.25),
    "=": () => zoomGraph(graph, 1.25),
    "-": () => zoomGraph(graph, 0.8),
    0: () => fitGraph(graph),
    ArrowLeft: () => panGraph(graph, 80, 0),
    ArrowRight: () => panGraph(graph, -80, 0),
    ArrowUp: () => panGraph(graph, 0, 80),
    ArrowDown: () => panGraph(graph, 0, -80),
    f: () => foldChosen(page, graph),
    F: () => page.foldAll(),
  }[key];
}

function pageKey(page, graph, key) {
  const clock = page.clocks.find((each) => each.plan === page.current) ?? page.clocks[0];
  return {
    "/": () => page.search.focus(),
    "?": () => page.help.showModal(),
    j: () => nextLayer(page, 1),
    k: () => nextLayer(page, -1),
    "]": clock && (() => stepBar(clock, 1)),
    "[": clock && (() => stepBar(clock, -1)),
    1: () => page.togglePhase("forward"),
    2: () => page.togglePhase("backward"),
    3: () => page.togglePhase("update"),
    c: () => page.toggleCritical(),
    l: () => page.showTab("details"),
    m: page.clocks.length ? () => page.showTab("memory") : undefined,
    s: () => page.showTab("source"),
    d: page.plans.length > 1 ? () => nextDifference(page) : undefined,
    x: page.chosenBar && clock && (() => listMemoryAt(page, clock, page.chosenBar)),
    t: () => page.toggleTheme(),
    Escape: () => page.choose(page.current, null),
  }[key];
}

function listMemoryAt(page, clock, bar) {
  setCursor(clock, (bar.predicted ?? bar).start);
  page.showTab("memory");
}

function nextLayer(page, by) {
  const plan = page.current;
  const at = page.chosen === null ? undefined : plan.numbers.get(page.chosen);
  const count = plan.layers.length;
  const next = at === undefined ? (by > 0 ? 0 : count - 1) : (at + by + count) % count;
  page.choose(plan, next, true);
}

/** Fold the innermost block around the chosen layer, or open what is drawn in its place. */
function foldChosen(page, graph) {
  const number = page.chosen === null ? undefined : graph.plan.numbers.get(page.chosen);
  if (number === undefined) return;
  const card = graph.plan.cardOf.get(number);
  const around = groupsAround(graph.plan.folding, card);
  const group = graph.shown.leafOf.get(card).group ?? around[around.length - 1];
  if (group) foldGroup(graph, group);
}

function helpDialog() {
  const rows = KEYS.map(([key, text]) => [el("kbd", {}, key), text]);
  const dialog = el(
    "dialog",
    { "aria-label": "keys" },
    el("h2", {}, "Keys"),
    table(["", ""], rows),
    button("close", "close", () => dialog.close()),
  );
  return dialog;
}

// The page: what is chosen and shown, and the parts that show it.

/** Build the page from its data. */
function start() {
  const page = makePage(JSON.parse(document.getElementById("data").textContent));
  findDifferences(page);
  buildPage(page);
  for (const plan of page.plans) foldAtFirst(plan);
  page.graphs = page.plans.map((plan, i) => makeGraph(plan, page.graphBoxes[i], page));
  page.graphs.forEach((graph) => redrawGraph(graph));
  page.graphs.forEach(fitGraph);
  page.clocks = page.plans.filter((plan) => plan.clock).map((plan) => makeClock(plan, page.clockBox, page));
  page.clocks.forEach((clock) => Object.assign(clock, { to: page.longestStep }));
  page.sourceTab.append(...makeSource(page));
  if (page.plans.length > 1) showDifferences(page);
  showMemory(page);
  page.showTab(page.plans.length > 1 ? "differences" : "details");
  showDetails(page);
  page.clocks.forEach((clock) => drawClock(clock));
  listenToPage(page);
  document.documentElement.dataset.ready = "yes";
}

function makePage(data) {
  const plans = data.plans.map((plan) => readPlan(plan, data.legend));
  const page = {
    data, plans, current: plans[0], clocks: [], graphs: [], meanings: new Map(data.legend.splits),
    shows: { phases: new Set(data.legend.phases), round: null, critical: true },
    chosen: null, chosenBar: null, pointedBar: null, subject: null, preview: null,
    pointed: new Set(), pointedExchanges: new Set(), chosenExchanges: new Set(), found: new Set(),
    longestStep: Math.max(1, ...plans.map((plan) => plan.clock?.nanoseconds ?? 0)),
  };
  return Object.assign(page, choosing(page), showing(page));
}

/** What is chosen and pointed at. */
function choosing(page) {
  const point = (plan, layers, exchanges) => {
    page.pointed = new Set(layers.map((number) => plan.plan.layers[number].name));
    page.pointedExchanges = new Set([...exchanges.map((number) => plan.exchanges[number].name), ...page.chosenExchanges]);
  };
  const choose = (plan, number, exchanges, bar, subject) => {
    page.current = plan;
    page.chosen = number === null ? null : plan.plan.layers[number].name;
    page.chosenBar = bar;
    page.subject = subject;
    page.preview = null;
    page.chosenExchanges = new Set(exchanges.map((each) => plan.exchanges[each].name));
    point(plan, [], []);
    markSource(page, plan, number);
    if (subject && page.tab !== "source" && page.tab !== "memory") page.showTab("details");
    showDetails(page);
    remark(page);
    announce(page, plan, subject);
  };
  return {
    graphOf: (plan) => page.graphs[page.plans.indexOf(plan)],
    pointAt(plan, layers, exchanges = []) {
      point(plan, layers, exchanges);
      page.preview = layers.length ? { plan, layer: layers[0] } : exchanges.length ? { plan, exchanges } : null;
      showDetails(page);
      remark(page);
    },
    pointAtLayers(plan, layers) {
      const names = layers.map((number) => plan.plan.layers[number].name);
      if (names.length === page.pointed.size && names.every((name) => page.pointed.has(name))) return;
      page.pointAt(plan, layers);
    },
    pointAtBar(plan, bar) {
      page.pointedBar = bar;
      point(plan, bar ? bar.layers : [], bar ? bar.exchanges : []);
      page.preview = bar ? { plan, bar } : null;
      showDetails(page);
      remark(page);
    },
    choose(plan, number, bring = false) {
      choose(plan, number, [], null, number === null ? null : { plan, layer: number });
      if (number !== null) for (const graph of page.graphs) if (bring || graph.plan !== plan) reveal(graph, page.chosen);
    },
    chooseExchanges(plan, exchanges) {
      choose(plan, null, exchanges, null, { plan, exchanges });
    },
    chooseBar(plan, bar) {
      choose(plan, bar.layers[0] ?? null, bar.exchanges, bar, { plan, bar });
      for (const graph of page.graphs) if (bar.layers.length) reveal(graph, page.chosen);
    },
  };
}

/** Show a layer, in what is unfolded for it. */
function reveal(graph, name) {
  const number = graph.plan.numbers.get(name);
  if (number === undefined) return;
  unfoldAround(graph, graph.plan.cardOf.get(number));
  bringIntoView(graph, name);
}

function remark(page) {
  page.graphs.forEach(markGraph);
  cancelAnimationFrame(page.frame);
  page.frame = requestAnimationFrame(() => page.clocks.forEach((clock) => drawClock(clock)));
}

/** Say what was chosen to those who cannot see it. */
function announce(page, plan, subject) {
  const text = !subject ? "nothing chosen"
    : subject.bar ? barText(plan, subject.bar)
    : subject.exchanges ? plural(subject.exchanges.length, "exchange")
    : `${plan.plan.layers[subject.layer].name}, ${plan.layers[subject.layer].text}`;
  page.spoken.textContent = text;
}

/** What is shown at all. */
function showing(page) {
  const redraw = () => {
    page.graphs.forEach((graph) => redrawGraph(graph));
    remark(page);
  };
  return {
    togglePhase(phase) {
      const { phases } = page.shows;
      if (!phases.delete(phase)) phases.add(phase);
      page.phaseBoxes.get(phase).checked = phases.has(phase);
      redraw();
    },
    showRound(round) {
      page.shows.round = round;
      redraw();
    },
    toggleCritical() {
      page.shows.critical = !page.shows.critical;
      page.criticalBox.checked = page.shows.critical;
      remark(page);
    },
    foldAll() {
      const closed = page.plans.some((plan) => groupsOf(plan.folding).some((group) => !group.open));
      page.setFolding(closed);
    },
    setFolding(open) {
      for (const plan of page.plans) setAll(plan, (group) => open || group.kind === "rounds");
      redraw();
      page.graphs.forEach(fitGraph);
    },
    showTab(name) {
      page.tab = name;
      for (const [key, [tab, content]] of page.tabs) {
        tab.setAttribute("aria-selected", String(key === name));
        content.hidden = key !== name;
      }
      if (name === "source" && page.subject?.layer !== undefined) markSource(page, page.subject.plan, page.subject.layer);
    },
    toggleTheme() {
      const { dataset } = document.documentElement;
      const dark = dataset.theme ? dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      dataset.theme = dark ? "light" : "dark";
      remark(page);
    },
    find(text) {
      const wanted = text.trim().toLowerCase();
      const names = page.plans.flatMap((plan) => plan.plan.layers.map((layer, n) => [layer.name, `${layer.name} ${plan.layers[n].text}`]));
      page.found = new Set(wanted ? names.filter(([, all]) => all.toLowerCase().includes(wanted)).map(([name]) => name) : []);
      page.countOfFound.textContent = wanted ? plural(page.found.size, "layer") : "";
      page.graphs.forEach(markGraph);
    },
    nextFound() {
      const names = [...page.found];
      if (!names.length) return;
      const name = names[(names.indexOf(page.chosen) + 1) % names.length];
      const plan = page.plans.find((each) => each.numbers.has(name));
      page.choose(plan, plan.numbers.get(name), true);
    },
  };
}

function buildPage(page) {
  page.tip = el("div", { class: "tip", hidden: true });
  page.spoken = el("div", { class: "spoken", "aria-live": "polite" });
  page.help = helpDialog();
  page.graphBoxes = page.plans.map(() => el("div", { class: "graph-box" }));
  page.clockBox = el("div", { class: "clocks" });
  const graphs = el("main", { class: "graphs" }, page.plans.map((plan, i) =>
    el("div", { class: "side-by-side" }, page.plans.length > 1 && el("h2", { class: "plan-name" }, plan.name), page.graphBoxes[i])));
  const hasClock = page.plans.some((plan) => plan.clock);
  const side = sideOf(page, hasClock);
  const bottom = hasClock && el("footer", { class: "bottom" }, grip("row"), page.clockBox);
  document.body.append(headOf(page), el("div", { class: `body${hasClock ? "" : " no-clock"}${page.plans.length > 1 ? " two" : ""}` }, graphs, side, bottom || ""), page.tip, page.spoken, page.help);
}

function headOf(page) {
  const title = page.plans.map((plan) => plan.name).join(" and ");
  return el("header", {},
    el("div", { class: "title-row" }, el("h1", {}, page.data.title), page.plans.length > 1 && el("span", { class: "faint" }, title), toolbar(page)),
    ...page.plans.map((plan) => el("div", { class: "tiles" }, page.plans.length > 1 && el("b", { class: "tile-name" }, plan.name),
      plan.tiles.map(([figure, meaning]) => el("div", { class: "tile" }, el("b", {}, figure), el("span", {}, meaning))))));
}

function toolbar(page) {
  page.search = el("input", {
    type: "search", placeholder: "search layers  ( / )", "aria-label": "search layers",
    oninput: (event) => page.find(event.target.value),
    onkeydown: (event) => {
      if (event.key === "Enter") page.nextFound();
      if (event.key === "Escape") event.target.blur();
    },
  });
  page.countOfFound = el("span", { class: "faint count" });
  page.phaseBoxes = new Map();
  const phases = page.data.legend.phases.map((phase) => {
    const box = el("input", { type: "checkbox", checked: true, onchange: () => page.togglePhase(phase) });
    page.phaseBoxes.set(phase, box);
    return el("label", {}, box, el("span", { class: `swatch ${phase}` }), phase);
  });
  page.criticalBox = el("input", { type: "checkbox", checked: true, onchange: () => page.toggleCritical() });
  const current = () => page.graphOf(page.current);
  return el("div", { class: "toolbar" }, page.search, page.countOfFound, ...phases,
    page.plans.some((plan) => plan.clock) && el("label", {}, page.criticalBox, "critical path"), roundChoice(page),
    button("fold", "fold all blocks", () => page.setFolding(false)), button("unfold", "unfold all blocks", () => page.setFolding(true)),
    button("\u2212", "zoom out", () => zoomGraph(current(), 0.8)), button("+", "zoom in", () => zoomGraph(current(), 1.25)),
    button("fit", "the whole graph", () => page.graphs.forEach(fitGraph)),
    button("\u25d0", "light or dark", () => page.toggleTheme()), button("?", "keys", () => page.help.showModal()));
}

function roundChoice(page) {
  const rounds = Math.max(...page.plans.map((plan) => plan.rounds));
  if (rounds < 2) return null;
  const options = Array.from({ length: rounds }, (_, i) => el("option", { value: i }, `round ${i + 1}`));
  const change = (event) => page.showRound(event.target.value === "all" ? null : Number(event.target.value));
  return el("select", { "aria-label": "round", onchange: change }, el("option", { value: "all" }, "all rounds"), options);
}

function sideOf(page, hasClock) {
  page.details = el("div", { class: "tab-content" });
  page.memoryTab = el("div", { class: "tab-content" });
  page.sourceTab = el("div", { class: "tab-content" });
  page.differencesTab = el("div", { class: "tab-content" });
  const all = [["details", "Layer", page.details], hasClock && ["memory", "Memory", page.memoryTab], ["source", "Source", page.sourceTab],
    page.plans.length > 1 && ["differences", "Differences", page.differencesTab]].filter(Boolean);
  page.tabs = new Map(all.map(([name, text, content]) => {
    const tab = el("button", { type: "button", role: "tab", onclick: () => page.showTab(name) }, text);
    return [name, [tab, content]];
  }));
  return el("aside", {}, grip("column"), el("div", { class: "tab-row", role: "tablist" }, [...page.tabs.values()].map(([tab]) => tab)),
    el("div", { class: "tab-scroll" }, [...page.tabs.values()].map(([, content]) => content)));
}

/** A border that is dragged: of the side, or of the clock. */
function grip(way) {
  const body = () => document.querySelector(".body");
  const move = (event) => {
    const { right, bottom, width, height } = body().getBoundingClientRect();
    const size = way === "column" ? right - event.clientX : bottom - event.clientY;
    const most = (way === "column" ? width : height) - 160;
    body().style.setProperty(way === "column" ? "--side" : "--bottom", `${Math.max(120, Math.min(size, most))}px`);
  };
  const up = () => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", up);
  };
  return el("div", { class: `grip ${way}`, onpointerdown: (event) => {
    event.preventDefault();
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
  } });
}

function listenToPage(page) {
  window.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input[type=search], select, dialog *");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (pressKey(page, event)) event.preventDefault();
  });
  window.addEventListener("resize", () => remark(page));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => remark(page));
  window.addEventListener("beforeprint", () => beforePrint(page));
  window.addEventListener("afterprint", () => afterPrint(page));
}

/** On paper: the whole graph as wide as the page, and the clock with more pixels. */
function beforePrint(page) {
  document.documentElement.classList.add("printing");
  page.graphs.forEach((graph) => {
    Object.assign(graph, { held: [graph.x, graph.y, graph.zoom], x: 10, y: 10, zoom: 1 });
    const { width, height } = graph.layout;
    graph.surface.setAttribute("viewBox", `0 0 ${width + 20} ${height + 20}`);
    showView(graph, true);
  });
  page.clocks.forEach((clock) => drawClock(clock, 3));
}

function afterPrint(page) {
  document.documentElement.classList.remove("printing");
  page.graphs.forEach((graph) => {
    [graph.x, graph.y, graph.zoom] = graph.held;
    graph.surface.removeAttribute("viewBox");
    showView(graph);
  });
  page.clocks.forEach((clock) => drawClock(clock));
}

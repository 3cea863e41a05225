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
  page.clocks = page.plans
    .filter((plan) => plan.clock)
    .map((plan) => makeClock(plan, page.clockBox, page));
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
    data,
    plans,
    current: plans[0],
    clocks: [],
    graphs: [],
    meanings: new Map(data.legend.splits),
    shows: { phases: new Set(data.legend.phases), round: null, critical: true },
    chosen: null,
    chosenBar: null,
    pointedBar: null,
    subject: null,
    preview: null,
    pointed: new Set(),
    pointedExchanges: new Set(),
    chosenExchanges: new Set(),
    found: new Set(),
    longestStep: Math.max(1, ...plans.map(longestOf)),
  };
  return Object.assign(page, choosing(page), showing(page));
}

/** Nanoseconds of a plan's step, predicted or measured, whichever is longer. */
function longestOf({ clock }) {
  return clock ? Math.max(clock.nanoseconds, clock.measured?.nanoseconds ?? 0) : 0;
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

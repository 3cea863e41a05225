// What is chosen, pointed at, shown and found; all parts are told.

/** What is chosen and pointed at. */
function choosing(page) {
  const point = (plan, layers, exchanges) => {
    page.pointed = new Set(layers.map((number) => plan.plan.layers[number].name));
    page.pointedExchanges = new Set([
      ...exchanges.map((number) => plan.exchanges[number].name),
      ...page.chosenExchanges,
    ]);
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
      page.preview = layers.length
        ? { plan, layer: layers[0] }
        : exchanges.length
          ? { plan, exchanges }
          : null;
      showDetails(page);
      remark(page);
    },
    pointAtLayers(plan, layers) {
      const names = layers.map((number) => plan.plan.layers[number].name);
      if (names.length === page.pointed.size && names.every((name) => page.pointed.has(name)))
        return;
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
      if (number !== null)
        for (const graph of page.graphs)
          if (bring || graph.plan !== plan) reveal(graph, page.chosen);
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
  const text = !subject
    ? "nothing chosen"
    : subject.bar
      ? barText(plan, subject.bar)
      : subject.exchanges
        ? plural(subject.exchanges.length, "exchange")
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
      if (name === "source" && page.subject?.layer !== undefined)
        markSource(page, page.subject.plan, page.subject.layer);
    },
    toggleTheme() {
      toggleTheme();
      remark(page);
    },
    find(text) {
      const wanted = text.trim().toLowerCase();
      const names = page.plans.flatMap((plan) =>
        plan.plan.layers.map((layer, n) => [layer.name, `${layer.name} ${plan.layers[n].text}`]),
      );
      page.found = new Set(
        wanted
          ? names.filter(([, all]) => all.toLowerCase().includes(wanted)).map(([name]) => name)
          : [],
      );
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

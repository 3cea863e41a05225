// The frame of the page: header, tools, tabs, and room for graph and clock.

function buildPage(page) {
  page.tip = el("div", { class: "tip", hidden: true });
  page.spoken = el("div", { class: "spoken", "aria-live": "polite" });
  page.help = helpDialog();
  page.graphBoxes = page.plans.map(() => el("div", { class: "graph-box" }));
  page.clockBox = el("div", { class: "clocks" });
  const graphs = el(
    "main",
    { class: "graphs" },
    page.plans.map((plan, i) =>
      el(
        "div",
        { class: "side-by-side" },
        page.plans.length > 1 && el("h2", { class: "plan-name" }, plan.name),
        page.graphBoxes[i],
      ),
    ),
  );
  const hasClock = page.plans.some((plan) => plan.clock);
  const side = sideOf(page, hasClock);
  const bottom = hasClock && el("footer", { class: "bottom" }, grip("row"), page.clockBox);
  document.body.append(
    headOf(page),
    el(
      "div",
      { class: `body${hasClock ? "" : " no-clock"}${page.plans.length > 1 ? " two" : ""}` },
      graphs,
      side,
      bottom || "",
    ),
    page.tip,
    page.spoken,
    page.help,
  );
}

function headOf(page) {
  const title = page.plans.map((plan) => plan.name).join(" and ");
  return el(
    "header",
    {},
    el(
      "div",
      { class: "title-row" },
      el("h1", {}, page.data.title),
      page.plans.length > 1 && el("span", { class: "faint" }, title),
      toolbar(page),
    ),
    ...page.plans.map((plan) =>
      el(
        "div",
        { class: "tiles" },
        page.plans.length > 1 && el("b", { class: "tile-name" }, plan.name),
        plan.tiles.map(([figure, meaning]) =>
          el("div", { class: "tile" }, el("b", {}, figure), el("span", {}, meaning)),
        ),
      ),
    ),
  );
}

function toolbar(page) {
  page.search = el("input", {
    type: "search",
    placeholder: "search layers  ( / )",
    "aria-label": "search layers",
    oninput: (event) => page.find(event.target.value),
    onkeydown: (event) => {
      if (event.key === "Enter") page.nextFound();
      if (event.key === "Escape") event.target.blur();
    },
  });
  page.countOfFound = el("span", { class: "faint count" });
  page.phaseBoxes = new Map();
  const phases = page.data.legend.phases.map((phase) => {
    const box = el("input", {
      type: "checkbox",
      checked: true,
      onchange: () => page.togglePhase(phase),
    });
    page.phaseBoxes.set(phase, box);
    return el("label", {}, box, el("span", { class: `swatch ${phase}` }), phase);
  });
  page.criticalBox = el("input", {
    type: "checkbox",
    checked: true,
    onchange: () => page.toggleCritical(),
  });
  const current = () => page.graphOf(page.current);
  return el(
    "div",
    { class: "toolbar" },
    page.search,
    page.countOfFound,
    ...phases,
    page.plans.some((plan) => plan.clock) && el("label", {}, page.criticalBox, "critical path"),
    roundChoice(page),
    button("fold", "fold all blocks", () => page.setFolding(false)),
    button("unfold", "unfold all blocks", () => page.setFolding(true)),
    button("\u2212", "zoom out", () => zoomGraph(current(), 0.8)),
    button("+", "zoom in", () => zoomGraph(current(), 1.25)),
    button("fit", "the whole graph", () => page.graphs.forEach(fitGraph)),
    button("\u25d0", "light or dark", () => page.toggleTheme()),
    button("?", "keys", () => page.help.showModal()),
  );
}

function roundChoice(page) {
  const rounds = Math.max(...page.plans.map((plan) => plan.rounds));
  if (rounds < 2) return null;
  const options = Array.from({ length: rounds }, (_, i) =>
    el("option", { value: i }, `round ${i + 1}`),
  );
  const change = (event) =>
    page.showRound(event.target.value === "all" ? null : Number(event.target.value));
  return el(
    "select",
    { "aria-label": "round", onchange: change },
    el("option", { value: "all" }, "all rounds"),
    options,
  );
}

function sideOf(page, hasClock) {
  page.details = el("div", { class: "tab-content" });
  page.memoryTab = el("div", { class: "tab-content" });
  page.sourceTab = el("div", { class: "tab-content" });
  page.differencesTab = el("div", { class: "tab-content" });
  const all = [
    ["details", "Layer", page.details],
    hasClock && ["memory", "Memory", page.memoryTab],
    ["source", "Source", page.sourceTab],
    page.plans.length > 1 && ["differences", "Differences", page.differencesTab],
  ].filter(Boolean);
  page.tabs = new Map(
    all.map(([name, text, content]) => {
      const tab = el(
        "button",
        { type: "button", role: "tab", onclick: () => page.showTab(name) },
        text,
      );
      return [name, [tab, content]];
    }),
  );
  return el(
    "aside",
    {},
    grip("column"),
    el(
      "div",
      { class: "tab-row", role: "tablist" },
      [...page.tabs.values()].map(([tab]) => tab),
    ),
    el(
      "div",
      { class: "tab-scroll" },
      [...page.tabs.values()].map(([, content]) => content),
    ),
  );
}

/** A border that is dragged: of the side, or of the clock. */
function grip(way) {
  const body = () => document.querySelector(".body");
  const move = (event) => {
    const { right, bottom, width, height } = body().getBoundingClientRect();
    const size = way === "column" ? right - event.clientX : bottom - event.clientY;
    const most = (way === "column" ? width : height) - 160;
    body().style.setProperty(
      way === "column" ? "--side" : "--bottom",
      `${Math.max(120, Math.min(size, most))}px`,
    );
  };
  const up = () => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", up);
  };
  return el("div", {
    class: `grip ${way}`,
    onpointerdown: (event) => {
      event.preventDefault();
      window.addEventListener("pointermove", move);
      window.addEventListener("pointerup", up);
    },
  });
}

// Two plans beside each other: which layers and exchanges are not the same in both.

/** What an exchange is, whatever its name in the plan. */
function exchangeKey({ kind, role, from, to }) {
  return [kind, role, from, ...to].join(" ");
}

/** The layers of a plan; its inputs are none, as in the terminal's count. */
function layersOf(plan) {
  return plan.plan.layers.filter((layer) => layer.kind !== "input");
}

/** The names of layers that are split otherwise, and the keys of exchanges that one plan has. */
function findDifferences(page) {
  page.differing = new Set();
  page.differingExchanges = new Set();
  if (page.plans.length < 2) return;
  const [first, second] = page.plans;
  for (const layer of layersOf(first)) {
    const number = second.numbers.get(layer.name);
    const other = number === undefined ? null : second.plan.layers[number];
    if (!other || other.split.join() !== layer.split.join() || other.rounds !== layer.rounds)
      page.differing.add(layer.name);
  }
  for (const layer of layersOf(second))
    if (!first.numbers.has(layer.name)) page.differing.add(layer.name);
  const keys = page.plans.map(
    (plan) =>
      new Set(plan.exchanges.filter((each) => mostSent(plan, [each.number])).map(exchangeKey)),
  );
  for (const key of keys[0]) if (!keys[1].has(key)) page.differingExchanges.add(key);
  for (const key of keys[1]) if (!keys[0].has(key)) page.differingExchanges.add(key);
}

/** The tab that lists the differences. */
function showDifferences(page) {
  const [first, second] = page.plans;
  const names = [...page.differing];
  const rows = names.map((name) => {
    const sides = page.plans
      .map((plan) => plan.numbers.get(name))
      .map((number, i) => (number === undefined ? null : [page.plans[i], number]));
    const pair = (cell) =>
      el(
        "td",
        {},
        sides.map((side) => el("div", {}, side ? cell(...side) : "-")),
      );
    return el(
      "tr",
      {},
      el("td", {}, layerLink(page, ...sides.find(Boolean))),
      pair((plan, n) => chips(plan.plan.layers[n].split)),
      pair((plan, n) => bytes(plan.layers[n].costs?.sent_bytes)),
      pair((plan, n) => duration(plan.layers[n].costs?.seconds)),
      pair((plan, n) => duration(plan.layers[n].costs?.exchange_seconds)),
    );
  });
  const all = new Set(page.plans.flatMap((plan) => layersOf(plan).map((layer) => layer.name))).size;
  const header = ["layer", "split", "sent", "compute", "exchange"];
  page.differencesTab.replaceChildren(
    el("h2", {}, `${names.length} of ${plural(all, "layer")} differ`),
    el(
      "p",
      { class: "faint" },
      `Above ${first.name}, below ${second.name}; press d for the next one.`,
    ),
    table(header, rows, "differences"),
    wholeTable(page),
  );
}

function wholeTable(page) {
  const row = (label, cell) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, label),
      page.plans.map((plan) => el("td", {}, cell(plan))),
    );
  const most = (list) => (list ? Math.max(...list) : 0);
  return section(
    "A step",
    table(
      ["", ...page.plans.map((plan) => plan.name)],
      [
        row("takes", (plan) => duration(plan.plan.totals.step_seconds)),
        row("not computing", (plan) => (plan.clock ? nanoseconds(plan.clock.exposed) : "-")),
        row("sent by a device", (plan) => bytes(most(plan.plan.totals.sent_bytes))),
        row("memory", (plan) =>
          plan.plan.totals.memory_bytes ? bytes(most(plan.plan.totals.memory_bytes)) : "-",
        ),
        row("scheme", (plan) => plan.plan.scheme ?? "-"),
        row("exchanges", (plan) => String(plan.exchanges.length)),
      ],
      "figures",
    ),
  );
}

/** Choose the next layer that differs. */
function nextDifference(page) {
  const names = [...page.differing];
  if (!names.length) return;
  const name = names[(names.indexOf(page.chosen) + 1) % names.length];
  const plan = page.plans.find((each) => each.numbers.has(name));
  page.choose(plan, plan.numbers.get(name), true);
}

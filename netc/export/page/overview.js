// The side where nothing is chosen.

function overview(page) {
  return [
    ...page.plans
      .flatMap((plan) => [
        page.plans.length > 1 && el("h2", {}, plan.name),
        ...plan.plan.notes.map((note) => el("p", { class: "note" }, note)),
      ])
      .filter(Boolean),
    el(
      "p",
      { class: "faint hint" },
      "Point at a card or at an instruction, or press ? for the keys.",
    ),
    legendOf(page),
    ...page.plans.map((plan) => longestOf(page, plan)),
    ...page.plans.map((plan) => largestOf(page, plan)),
  ].filter(Boolean);
}

function legendOf(page) {
  const used = new Set(
    page.plans.flatMap((plan) => plan.cards.flatMap((card) => card.split.map((label) => label[0]))),
  );
  const splits = page.data.legend.splits.filter(([label]) => used.has(label));
  const entry = (sign, text) => el("div", { class: "entry" }, sign, " ", text);
  return section(
    "Legend",
    ...splits.map(([label, meaning]) => entry(chips([label]), meaning)),
    ...page.data.legend.phases.map((phase) =>
      entry(el("span", { class: `swatch ${phase}` }), `${phase}: computation`),
    ),
    entry(el("span", { class: "swatch moving" }), "exchange; bytes that a device sends in a step"),
    page.plans.length > 1 &&
      entry(el("span", { class: "swatch differing" }), "differs between the plans"),
  );
}

function longestOf(page, plan) {
  const seconds = (number) =>
    Object.values(plan.layers[number].seconds ?? {}).reduce((a, b) => a + b, 0);
  const all = [...plan.layers.keys()]
    .map((number) => [number, seconds(number)])
    .filter(([, s]) => s);
  if (!all.length) return null;
  const whole = all.reduce((sum, [, s]) => sum + s, 0);
  all.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const rows = all
    .slice(0, 8)
    .map(([number, s]) => [layerLink(page, plan, number), duration(s), percent(s, whole)]);
  return section(titled(page, plan, "Layers that take longest"), table(["", "computes", ""], rows));
}

function largestOf(page, plan) {
  const all = plan.exchanges
    .map((each) => [each.number, mostSent(plan, [each.number])])
    .filter(([, sent]) => sent);
  if (!all.length) return null;
  all.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  return section(
    titled(page, plan, "Largest exchanges"),
    exchangeTable(
      page,
      plan,
      all.slice(0, 8).map(([number]) => number),
    ),
  );
}

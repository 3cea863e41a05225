// The side: what is known of a layer, of exchanges, of an instruction, or of the whole plan.

/** Show what is pointed at, else what is chosen, else the whole plan. */
function showDetails(page) {
  const { details } = page;
  const subject = page.preview ?? page.subject;
  if (!subject) details.replaceChildren(...overview(page));
  else if (subject.bar) details.replaceChildren(...barDetails(page, subject.plan, subject.bar));
  else if (subject.exchanges)
    details.replaceChildren(...exchangeDetails(page, subject.plan, subject.exchanges));
  else details.replaceChildren(...layerDetails(page, subject.plan, subject.layer));
}

function section(title, ...content) {
  return el("section", {}, el("h3", {}, title), ...content);
}

/** A split as coloured letters. */
function chips(split) {
  return el(
    "span",
    { class: "chips" },
    split.map((label) =>
      el("span", { class: `chip split-${splitName(label)}`, title: label }, label),
    ),
  );
}

function layerLink(page, plan, number) {
  const { name } = plan.plan.layers[number];
  return button(name, `choose ${name}`, () => page.choose(plan, number));
}

// A layer

function layerDetails(page, plan, number) {
  const layer = plan.plan.layers[number];
  const extra = plan.layers[number];
  const sides = page.plans.filter((each) => each.numbers.has(layer.name));
  return [
    el("h2", {}, layer.name),
    el(
      "p",
      { class: "faint" },
      extra.text,
      sides.length < page.plans.length ? ` (in plan ${plan.name} only)` : "",
    ),
    cardMates(page, plan, number),
    figures(page, sides, layer.name),
    ...sides.map((each) => exchangesOf(page, each, each.numbers.get(layer.name))),
    ...sides.map((each) => alternativesOf(page, each, each.numbers.get(layer.name))),
    optionsOf(layer),
    ...sides.map((each) => valuesOf(page, each, each.numbers.get(layer.name))),
    placeOf(page, extra),
  ].filter(Boolean);
}

function cardMates(page, plan, number) {
  const others = plan.cards[plan.cardOf.get(number)].layers;
  if (others.length < 2) return null;
  return el(
    "p",
    { class: "mates" },
    "drawn together: ",
    others
      .map((other) =>
        other === number ? el("b", {}, plan.plan.layers[other].name) : layerLink(page, plan, other),
      )
      .flatMap((e) => [e, " "]),
  );
}

/** One row for each figure, one column for each plan; what differs is marked. */
function figures(page, sides, name) {
  const columns = sides.map((plan) => figuresOf(page, plan, plan.numbers.get(name)));
  const labels = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  const rows = labels.map((label) => {
    const cells = columns.map((column) => column.get(label) ?? "-");
    const texts = cells.map((cell) => (cell instanceof Element ? cell.textContent : cell));
    const differs = texts.some((text) => text !== texts[0]);
    return el(
      "tr",
      { class: differs ? "differs" : null },
      el("th", { scope: "row" }, label),
      cells.map((cell) => el("td", {}, cell)),
    );
  });
  return table(
    ["", ...(sides.length > 1 ? sides.map((plan) => plan.name) : [""])],
    rows,
    "figures",
  );
}

function figuresOf(page, plan, number) {
  const layer = plan.plan.layers[number];
  const { costs, seconds, runs_with: host } = plan.layers[number];
  const found = new Map();
  const meanings = layer.split.map((label) => page.meanings.get(label[0]));
  found.set("split", el("span", {}, chips(layer.split), ` ${meanings.join("; ")}`));
  found.set("result", `${layer.dtype} ${shapeText(layer.shape)}`);
  found.set(
    "on a device",
    shapeText(layer.local_shape) + (layer.rounds > 1 ? `, ${layer.rounds} rounds` : ""),
  );
  if (layer.parameters) {
    const held =
      layer.local_parameters === layer.parameters
        ? ""
        : `, ${amount(layer.local_parameters)} a device`;
    found.set("parameters", `${amount(layer.parameters)}${held}`);
  }
  found.set(
    "FLOPs forward",
    layer.forward_flops ? `${amount(layer.forward_flops)} on all devices` : "-",
  );
  if (costs) addCosts(found, costs);
  if (seconds) for (const [phase, own] of Object.entries(seconds)) found.set(phase, duration(own));
  if (host !== null) found.set("computed", el("span", {}, "with ", layerLink(page, plan, host)));
  if (costs && !seconds && host === null) found.set("computed", "nothing: a view of its operand");
  if (costs) {
    if (costs.exchange_seconds) found.set("exchanges take", duration(costs.exchange_seconds));
    found.set("bound by", costs.bound);
  }
  return found;
}

function addCosts(found, costs) {
  found.set("FLOPs of a device", costs.flops ? `${amount(costs.flops)} a step` : "-");
  found.set("weights and state", bytes(costs.weight_bytes));
  found.set("activations", bytes(costs.activation_bytes));
  found.set("sent a step", bytes(costs.sent_bytes));
}

function exchangesOf(page, plan, number) {
  const numbers = plan.moved[number];
  return numbers.length
    ? section(titled(page, plan, "Exchanges"), exchangeTable(page, plan, numbers))
    : null;
}

function titled(page, plan, title) {
  return page.plans.length > 1 ? `${title}, ${plan.name}` : title;
}

function exchangeTable(page, plan, numbers) {
  const rows = numbers.map((number) => {
    const each = plan.exchanges[number];
    const round = each.round === null ? "" : `, round ${each.round + 1}`;
    const ends = `${each.from} \u2192 ${each.to.join(", ")}`;
    const choose = button(each.text, `show ${each.name} on the clock`, () =>
      page.chooseExchanges(plan, [number]),
    );
    const differs = page.differingExchanges.has(exchangeKey(each));
    return el(
      "tr",
      { class: differs ? "differs" : null },
      el("td", {}, choose, el("div", { class: "faint" }, `${each.phase}${round}: ${ends}`)),
      el("td", {}, bytes(mostSent(plan, [number]))),
      el("td", {}, exchangeSeconds(each)),
    );
  });
  return table(["", "sent by a device", "takes"], rows, "exchanges");
}

/** How long an exchange takes on the clock, and with how many others. */
function exchangeSeconds(exchange) {
  if (!exchange.bars.length) return "-";
  const longest = Math.max(...exchange.bars.map((bar) => bar.end - bar.start));
  const others = exchange.bars[0].exchanges.length - 1;
  return nanoseconds(longest) + (others ? `, with ${plural(others, "other")}` : "");
}

function alternativesOf(page, plan, number) {
  const all = plan.layers[number].alternatives;
  if (!all.length) return null;
  const seconds = (each) => each.compute_seconds + each.exchange_seconds + each.update_seconds;
  const taken = all.find((each) => each.chosen);
  const rows = all.map((each) => {
    const more = seconds(each) - seconds(taken);
    const beside =
      each === taken
        ? "taken"
        : more === 0
          ? "the same"
          : `${more > 0 ? "+" : "\u2212"}${duration(Math.abs(more))}`;
    return el(
      "tr",
      { class: each === taken ? "taken" : null },
      el("td", {}, chips(each.split)),
      [each.compute_seconds, each.exchange_seconds, each.update_seconds, seconds(each)].map((s) =>
        el("td", {}, duration(s)),
      ),
      el("td", {}, beside),
      el("td", {}, bytes(each.memory_bytes)),
    );
  });
  return section(
    titled(page, plan, "What each split would cost"),
    el("p", { class: "faint" }, "Of a device, all other layers as they are, nothing hidden."),
    table(["", "compute", "exchange", "gradients", "all", "", "memory"], rows, "alternatives"),
  );
}

function optionsOf(layer) {
  const options = Object.entries(layer.options);
  if (!options.length) return null;
  const texts = options.map(
    ([name, value]) => `${name}=${Array.isArray(value) ? value.join("x") : value}`,
  );
  return section("Options", el("p", {}, texts.join("  ")));
}

function valuesOf(page, plan, number) {
  const { values } = plan.layers[number];
  if (!values.length) return null;
  const body = table(
    ["value", "type", "placed", "phase"],
    values.map(([name, phase, type, placed]) => [name, type, placed, phase]),
    "values",
  );
  return el(
    "details",
    {},
    el("summary", {}, titled(page, plan, `${plural(values.length, "value")} and where they are`)),
    el(
      "p",
      { class: "faint" },
      "S0: a part each, cut along dimension 0. R: all on every device. P: to be added up. ",
      "@1: on device 1 only. H: with the edges of its neighbours.",
    ),
    body,
  );
}

function placeOf(page, { place, trail }) {
  if (!place) return null;
  const [source, line] = place;
  const where = `${page.data.sources[source].name}:${line}`;
  return section(
    "Written at",
    el(
      "p",
      {},
      button(where, "show the line", () => page.showTab("source")),
      el("span", { class: "faint" }, trail.map((note) => ` ${note}`).join(";")),
    ),
  );
}

// Exchanges and instructions

function exchangeDetails(page, plan, numbers) {
  const each = plan.exchanges[numbers[0]];
  const ends = [...new Set([each.from, ...each.to])].filter((name) => plan.numbers.has(name));
  return [
    el("h2", {}, numbers.length > 1 ? plural(numbers.length, "exchange") : each.text),
    numbers.length === 1 &&
      el(
        "p",
        { class: "faint" },
        `${each.kind} of ${each.role} along ${each.axes.join(", ")}, ${each.name}`,
      ),
    el(
      "p",
      {},
      ends.flatMap((name) => [layerLink(page, plan, plan.numbers.get(name)), " "]),
    ),
    exchangeTable(page, plan, numbers),
    numbers.length === 1 && perDevice(plan, each),
  ].filter(Boolean);
}

function perDevice(plan, exchange) {
  const rows = exchange.sent_bytes.map((sent, device) => [
    `device ${device}`,
    bytes(sent),
    bytes(exchange.received_bytes[device]),
  ]);
  return rows.length <= 64 ? section("By device", table(["", "sent", "received"], rows)) : null;
}

function barDetails(page, plan, bar) {
  const rows = [
    ["phase", bar.phase + (bar.round >= 0 ? `, round ${bar.round + 1}` : "")],
    ["on", devicesText(bar.predicted ? [bar.device] : plan.clock.classes[bar.class_].devices)],
    ["stream", plan.legend.streams[bar.stream]],
    ["from, to", `${moment(bar.start)}, ${moment(bar.end)}`],
    [bar.predicted ? "took" : "takes", nanoseconds(bar.end - bar.start)],
    ...(bar.predicted
      ? [["predicted", predictedText(bar)]]
      : [
          ["alone", nanoseconds(bar.alone)],
          ["critical", bar.critical ? "the step waits for it" : "no"],
        ]),
  ];
  return [
    el("h2", {}, wordOf(bar)),
    el(
      "p",
      {},
      bar.layers.flatMap((number) => [layerLink(page, plan, number), " "]),
    ),
    table(
      ["", ""],
      rows.map(([label, text]) =>
        el("tr", {}, el("th", { scope: "row" }, label), el("td", {}, text)),
      ),
      "figures",
    ),
    bar.exchanges.length > 0 && exchangeTable(page, plan, bar.exchanges),
  ].filter(Boolean);
}

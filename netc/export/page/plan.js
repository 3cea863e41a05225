// A plan of the page's data, with what is looked up in it. Layers are known by their numbers, and
// across two plans by their names.

/** Complete a plan of the data: where layers are, what they exchange, and when they run. */
function readPlan(plan, legend) {
  plan.legend = legend;
  plan.numbers = new Map(plan.plan.layers.map((layer, number) => [layer.name, number]));
  plan.cardOf = new Map(plan.cards.flatMap((card, number) => card.layers.map((l) => [l, number])));
  plan.moved = plan.plan.layers.map(() => []);
  plan.exchanges.forEach((extra, number) => {
    const each = Object.assign(extra, plan.plan.exchanges[number], { number, bars: [] });
    const ends = new Set([each.from, ...each.to].map((name) => plan.numbers.get(name)));
    for (const layer of ends) if (layer !== undefined) plan.moved[layer].push(number);
  });
  plan.bars = plan.clock ? readBars(plan) : [];
  plan.measured = plan.clock?.measured ? readMeasured(plan) : [];
  plan.barsOf = plan.plan.layers.map(() => []);
  for (const bar of plan.bars) {
    for (const layer of bar.layers) plan.barsOf[layer].push(bar);
    for (const number of bar.exchanges) plan.exchanges[number].bars.push(bar);
  }
  plan.storages = plan.memory ? plan.memory.classes.map((own) => readStorages(plan, own)) : [];
  plan.longest = Math.max(1e-12, ...plan.cards.map((card) => cardSeconds(plan, [card])));
  return plan;
}

/** Every instruction on every class of devices. */
function readBars(plan) {
  const { words, instructions, critical } = plan.clock;
  const marked = new Set();
  for (let i = 0; i < critical.length; i += 2) marked.add(`${critical[i]} ${critical[i + 1]}`);
  const bars = [];
  instructions.forEach(([word, phase, stream, layers, round, alone, exchanges, times], number) => {
    for (let i = 0; i < times.length; i += 3) {
      const [class_, start, end] = times.slice(i, i + 3);
      bars.push({
        number,
        word: words[word],
        phase: plan.legend.phases[phase],
        stream,
        layers,
        round,
        alone,
        exchanges,
        class_,
        start,
        end,
        critical: marked.has(`${number} ${class_}`),
        moves: exchanges.length > 0,
      });
    }
  });
  return bars;
}

/** Every instruction on every device, in the step that was measured. */
function readMeasured(plan) {
  const { classes, measured } = plan.clock;
  const classOf = new Map(classes.flatMap((own, i) => own.devices.map((device) => [device, i])));
  const known = new Map(plan.bars.map((bar) => [`${bar.number} ${bar.class_}`, bar]));
  const bars = [];
  for (let i = 0; i < measured.times.length; i += 4) {
    const [number, device, start, end] = measured.times.slice(i, i + 4);
    const predicted = known.get(`${number} ${classOf.get(device)}`);
    bars.push({ ...predicted, predicted, device, start, end, critical: false });
  }
  return bars;
}

function readStorages(plan, { rows }) {
  return rows.map(([name, layer, kind, offset, size, start, end]) => ({
    name: plan.memory.names[name],
    layer,
    kind: plan.legend.memory[kind],
    offset,
    size,
    start,
    end,
  }));
}

/** Seconds of the layers of some cards, in all phases or in those that are asked for. */
function cardSeconds(plan, cards, phases = plan.legend.phases) {
  let sum = 0;
  for (const card of cards) {
    for (const number of card.layers) {
      const { seconds } = plan.layers[number];
      if (seconds) for (const phase of phases) sum += seconds[phase];
    }
  }
  return sum;
}

/** Bytes that a device sends for some exchanges which sends the most. */
function mostSent(plan, numbers) {
  const sums = new Array(plan.plan.mesh.devices).fill(0);
  for (const number of numbers) {
    plan.exchanges[number].sent_bytes.forEach((sent, device) => (sums[device] += sent));
  }
  return Math.max(...sums);
}

/** What to draw for some exchanges: one badge for all of a kind, of the phases and round shown. */
function badgesOf(plan, numbers, shows) {
  const groups = new Map();
  for (const number of numbers) {
    const each = plan.exchanges[number];
    if (
      !shows.phases.has(each.phase) ||
      (shows.round !== null && each.round !== null && each.round !== shows.round)
    )
      continue;
    const key = `${each.way} ${each.text}`;
    if (!groups.has(key)) groups.set(key, { way: each.way, text: each.text, exchanges: [] });
    groups.get(key).exchanges.push(number);
  }
  for (const badge of groups.values()) {
    badge.bytes = mostSent(plan, badge.exchanges);
    const rounds = new Set(
      badge.exchanges.map((n) => plan.exchanges[n].round).filter((r) => r !== null),
    );
    if (rounds.size > 1) badge.text = `${badge.text}, ${rounds.size} rounds`;
  }
  return [...groups.values()].filter((badge) => badge.bytes);
}

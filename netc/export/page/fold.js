// What is shown: cards, frames around them, and closed blocks in place of many.

const MANY_CARDS = 120; // More than that at first, and blocks are closed.

/** The cards in an item of the folding, in order. */
function leavesOf(item) {
  return typeof item === "number" ? [item] : item.items.flatMap(leavesOf);
}

/** Every group of a folding, outer ones first. */
function groupsOf(items) {
  return items.flatMap((item) => (typeof item === "number" ? [] : [item, ...groupsOf(item.items)]));
}

/** How a plan is shown at first: runs once; blocks open, unless there would be too much. */
function foldAtFirst(plan) {
  setAll(plan, (group) => group.kind !== "run");
  if (shownItems(plan).leaves.length > MANY_CARDS) setAll(plan, (group) => group.kind === "rounds");
}

/** Open or close every group. */
function setAll(plan, opens) {
  for (const group of groupsOf(plan.folding)) group.open = opens(group);
}

/** The tree of what is shown, its leaves, and for every card the leaf that shows it.
 *
 * A leaf is {card, count} or {group, cards} for a closed block; a frame is {group, items, count}.
 * `scope` is the name of the block around a leaf, `copies` are cards that an equal one is drawn
 * for.
 */
function shownItems(plan) {
  const shown = { leaves: [], leafOf: new Map(), copies: new Set() };
  shown.items = plan.folding.map((item) => shownItem(item, shown, ""));
  return shown;
}

function shownItem(item, shown, scope) {
  if (typeof item === "number")
    return addLeaf({ kind: "card", card: item, count: 1, scope }, [item], shown);
  if (item.kind === "run" && !item.open) return foldedRun(item, shown, scope);
  if (!item.open) {
    const cards = leavesOf(item);
    return addLeaf({ kind: "closed", group: item, cards, count: 1, scope }, cards, shown);
  }
  const items = item.items.map((each) => shownItem(each, shown, item.name ?? scope));
  return { kind: "frame", group: item, items, count: 1, scope };
}

/** The first of equal stretches, for all of them. */
function foldedRun(run, shown, scope) {
  const [first, ...others] = run.items;
  const cards = leavesOf(first);
  const found = { group: run, count: run.count, scope };
  if (first.open === false) addLeaf(Object.assign(found, { kind: "closed", cards }), cards, shown);
  else {
    const inner = first.kind === "block" ? first.items : [first];
    found.items = inner.map((each) => shownItem(each, shown, first.name ?? scope));
  }
  for (const other of others) {
    leavesOf(other).forEach((card, i) => {
      shown.leafOf.set(card, shown.leafOf.get(cards[i]));
      shown.copies.add(card);
    });
  }
  if (typeof first === "number")
    return Object.assign(found.items[0], { group: run, count: run.count });
  return found.items ? { kind: "frame", ...found } : found;
}

/** The next state of a group: a block is open or closed; a run of blocks is closed, shown once, or
 * shown whole.
 */
function nextFold(group) {
  const [first] = group.items;
  const blocks = group.items.filter((item) => item.kind === "block");
  if (group.kind !== "run" || !blocks.length) group.open = !group.open;
  else if (group.open) {
    group.open = false;
    for (const block of blocks) block.open = false;
  } else if (!first.open) first.open = true;
  else {
    group.open = true;
    for (const block of blocks) block.open = true;
  }
}

function addLeaf(leaf, cards, shown) {
  leaf.order = cards[0];
  shown.leaves.push(leaf);
  for (const card of cards) shown.leafOf.set(card, leaf);
  return leaf;
}

/** Connections between leaves, each once: {source, targets, exchanges}. */
function shownWays(plan, shown) {
  const found = new Map();
  const isCopy = (way) => [way.source, ...way.targets].some((card) => shown.copies.has(card));
  for (const copies of [false, true]) {
    for (const way of plan.ways) if (isCopy(way) === copies) addWay(way, shown, found, copies);
  }
  return [...found.values()];
}

function addWay(way, shown, found, isCopy) {
  const source = shown.leafOf.get(way.source);
  const reached = new Set(way.targets.map((card) => shown.leafOf.get(card)));
  const targets = [...reached].filter((leaf) => leaf.order > source.order);
  if (!targets.length) return;
  const key = `${source.order} ${targets.map((leaf) => leaf.order).join(" ")}`;
  const known = found.get(key);
  if (!known) found.set(key, { source, targets, exchanges: [...way.exchanges] });
  else if (!isCopy) known.exchanges.push(...way.exchanges);
}

/** A name without that of the block around it. */
function nameInside(name, scope) {
  return scope && name.startsWith(`${scope}.`) ? name.slice(scope.length + 1) : name;
}

/** The groups around a card, outer ones first. */
function groupsAround(items, card) {
  for (const item of items) {
    if (item === card) return [];
    if (typeof item === "number" || !leavesOf(item).includes(card)) continue;
    return [item, ...groupsAround(item.items, card)];
  }
  return [];
}

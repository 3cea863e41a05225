// Cards, closed blocks, badges and frames: how large they are, and what they look like.

const FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif";
const TITLE_FONT = `bold 12px ${FONT}`;
const LINE_FONT = `11px ${FONT}`;
const BADGE_FONT = `10px ${FONT}`;
const LINE = 15;
const BADGE = 17;
const BAND = 20; // Width of the band with a split's letter.
const PAD = 9;
const WIDEST = 250; // Longest line of a card.
const STEP = 20; // Widths are multiples of this, so that most in a column are alike.
const TIMES = 9; // Height of the bar that tells the time a card takes.

/** Fill in what a leaf says, and its size. */
function measureLeaf(plan, leaf, shows) {
  const cards = (leaf.cards ?? [leaf.card]).map((number) => plan.cards[number]);
  const text = leaf.kind === "card" ? cardText(plan, leaf, cards[0]) : blockText(plan, leaf, cards);
  const badges = badgesOf(
    plan,
    cards.flatMap((card) => card.inside),
    shows,
  );
  const phases = plan.legend.phases.filter((phase) => shows.phases.has(phase));
  Object.assign(leaf, text, { badges, phases, shownCards: cards });
  const count = leaf.count > 1 ? textWidth(`${leaf.count} x`, TITLE_FONT) + 14 : 0;
  const widths = [textWidth(leaf.title, TITLE_FONT) + count + (leaf.group ? 18 : 0)];
  widths.push(...leaf.lines.map((line) => textWidth(line, LINE_FONT)), ...badges.map(badgeWidth));
  const width = Math.min(Math.max(...widths), WIDEST) + leaf.split.length * BAND + 2 * PAD;
  leaf.width = Math.ceil(width / STEP) * STEP;
  leaf.height =
    LINE * (1 + leaf.lines.length) + BADGE * badges.length + 10 + (plan.clock ? TIMES : 0);
}

function cardText(plan, leaf, card) {
  const title = leaf.count > 1 ? leaf.group.title : card.title;
  return { title: nameInside(title, leaf.scope), lines: card.lines, split: card.split };
}

function blockText(plan, leaf, cards) {
  const layers = cards.reduce((sum, card) => sum + card.layers.length, 0);
  const splits = [...new Set(cards.map((card) => card.split.join(",")))];
  const numbers = cards.flatMap((card) => card.layers);
  const weights = numbers.reduce((sum, n) => sum + plan.plan.layers[n].parameters, 0);
  const lines = [`${plural(layers, "layer")} in ${plural(cards.length, "card")}`];
  if (weights) lines.push(`${amount(weights)} parameters`);
  if (splits.length > 1) lines.push(`splits ${splits.join("; ")}`);
  const title = nameInside(leaf.group.name ?? leaf.group.title, leaf.scope);
  return { title, lines, split: splits.length > 1 ? [] : cards[0].split };
}

function badgeText(badge) {
  return badge.way ? `${badge.way === "forward" ? "\u2193" : "\u2191"} ${badge.text}` : badge.text;
}

function badgeWidth(badge) {
  return (
    textWidth(badgeText(badge), BADGE_FONT) + textWidth(bytes(badge.bytes), BADGE_FONT) * 1.1 + 34
  );
}

/** The node that stands on a way for its badges, or null where nothing is exchanged. */
function wayNode(plan, way, shows) {
  const badges = badgesOf(plan, way.exchanges, shows);
  if (!badges.length) return null;
  const width = Math.ceil(Math.max(...badges.map(badgeWidth)));
  return { kind: "way", badges, width, height: BADGE * badges.length + 4 };
}

/** A leaf as an element, from its own corner on: whole, or with its name alone, or a mere box. */
function drawLeaf(plan, leaf, level) {
  const card = emptyCard(plan, leaf);
  if (level === "whole") card.append(...wholeCard(plan, leaf));
  else {
    const { width, height } = leaf;
    card.append(svg("rect", { class: "outline filled", width, height, rx: 5 }));
    if (level === "name") card.append(farTitle(leaf));
  }
  return card;
}

function emptyCard(plan, leaf) {
  const tint = leaf.split.length ? splitName(leaf.split[0]) : "r";
  const name = plan.plan.layers[leaf.shownCards[0].layers[0]].name;
  const label = `${name}: ${leaf.lines.join(", ")}, split ${leaf.split.join(",") || "several"}`;
  const attributes = { class: `card split-${tint} ${leaf.kind}`, tabindex: "0", role: "button" };
  return svg("g", { ...attributes, "aria-label": label, "data-layer": name });
}

function wholeCard(plan, leaf) {
  const { width, height } = leaf;
  const several = leaf.count > 1 || leaf.kind === "closed";
  const behind = (several ? [6, 3, 0] : [0]).map((by) =>
    svg("rect", { class: "ground", x: by, y: by, width, height, rx: 5 }),
  );
  const bands = leaf.split.flatMap((split, i) => band(split, i, height));
  const outline = svg("rect", { class: "outline", width, height, rx: 5 });
  const times = plan.clock ? timeBar(plan, leaf) : [];
  const texts = [...cardTexts(leaf), ...cardBadges(leaf).filter(Boolean), ...times];
  return [...behind, ...bands, outline, ...texts, farTitle(leaf)];
}

function band(split, place, height) {
  const x = place * BAND;
  const size = split.length === 1 ? 13 : split.length === 2 ? 10 : 8;
  const shape =
    `M${x + BAND} 0H${x + (place ? 0 : 5)}` +
    (place ? `V${height}` : `Q0 0 0 5V${height - 5}Q0 ${height} 5 ${height}`) +
    `H${x + BAND}Z`;
  return [
    svg("path", { class: `band split-${splitName(split)}`, d: shape }),
    svg(
      "text",
      {
        class: `letter split-${splitName(split)} far-too`,
        x: x + BAND / 2,
        y: height / 2 + size * 0.35,
        "font-size": size,
      },
      split,
    ),
  ];
}

function cardTexts(leaf) {
  const x = leaf.split.length * BAND + PAD;
  const room = leaf.width - x - PAD;
  const count = leaf.count > 1 ? `${leaf.count} x` : "";
  const spent = (leaf.group ? 18 : 0) + (count ? textWidth(count, TITLE_FONT) + 10 : 0);
  const title = shortened(leaf.title, room - spent, TITLE_FONT);
  const texts = [svg("text", { class: "title", x, y: LINE }, title)];
  leaf.lines.forEach((line, i) =>
    texts.push(
      svg("text", { class: "line", x, y: LINE * (i + 2) }, shortened(line, room, LINE_FONT)),
    ),
  );
  if (count)
    texts.push(
      svg(
        "text",
        { class: "title faint", x: leaf.width - PAD - 18, y: LINE, "text-anchor": "end" },
        count,
      ),
    );
  if (leaf.group) texts.push(foldSign(leaf.width - PAD - 10, 5, false));
  return texts;
}

/** The name as large as there is room for, which stands alone where the graph is far away. */
function farTitle(leaf) {
  const x = leaf.split.length * BAND;
  const room = leaf.width - x - 8;
  const size = Math.min(34, (12 * room) / textWidth(leaf.title, TITLE_FONT));
  const place = { x: x + (leaf.width - x) / 2, y: leaf.height / 2 + size * 0.35 };
  return svg(
    "text",
    { class: "far-title", ...place, "font-size": Math.round(size * 10) / 10 },
    leaf.title,
  );
}

/** What folds a group when it is clicked. */
function foldSign(x, y, open) {
  const d = open ? "M1 3.5L5.5 8L10 3.5" : "M3.5 1L8 5.5L3.5 10";
  return svg(
    "g",
    { class: "fold", transform: `translate(${x} ${y})` },
    svg("rect", { x: -3, y: -3, width: 17, height: 17, rx: 3 }),
    svg("path", { d }),
  );
}

function cardBadges(leaf) {
  const x = leaf.split.length * BAND + PAD - 2;
  const y = LINE * (1 + leaf.lines.length) + 6;
  return leaf.badges.flatMap((badge, i) =>
    drawBadge(badge, x, y + i * BADGE, leaf.width - x - PAD + 2, true),
  );
}

function drawBadge(badge, x, y, width, outlined) {
  const figure = bytes(badge.bytes);
  const room = width - textWidth(figure, BADGE_FONT) * 1.1 - 24;
  return [
    outlined &&
      svg("rect", { class: "badge", x, y, width, height: BADGE - 2, rx: (BADGE - 2) / 2 }),
    svg(
      "text",
      { class: "exchange", x: x + 8, y: y + 11 },
      shortened(badgeText(badge), room, BADGE_FONT),
    ),
    svg(
      "text",
      { class: "exchange figure", x: x + width - 8, y: y + 11, "text-anchor": "end" },
      figure,
    ),
  ];
}

/** What the launches of a card take, by phase; the longest card's bar is full. */
function timeBar(plan, leaf) {
  let x = leaf.split.length * BAND + PAD;
  const room = leaf.width - x - PAD;
  const y = leaf.height - 9;
  const scale = room / Math.max(plan.longest, 1e-12);
  const parts = [svg("rect", { class: "track", x, y, width: room, height: 4, rx: 2 })];
  const seconds = (phase) => cardSeconds(plan, leaf.shownCards, [phase]);
  const all = leaf.phases.reduce((sum, phase) => sum + seconds(phase), 0);
  const fit = Math.min(1, plan.longest / Math.max(all, 1e-12));
  for (const phase of leaf.phases) {
    const width = seconds(phase) * scale * fit;
    if (width > 0.05) parts.push(svg("rect", { class: `time ${phase}`, x, y, width, height: 4 }));
    x += width;
  }
  return parts;
}

/** The badges of a way, from their own corner on. */
function drawWay(plan, node) {
  const { width, height, badges } = node;
  const exchanges = badges.flatMap((badge) => badge.exchanges);
  const label = badges
    .map((badge) => `${badge.way} ${badge.text}, ${bytes(badge.bytes)}`)
    .join("; ");
  const attributes = { class: "way", tabindex: "0", role: "button", "aria-label": label };
  const element = svg("g", { ...attributes, "data-exchanges": exchanges.join(" ") });
  element.append(svg("rect", { class: "badge", width, height, rx: 9 }));
  badges.forEach((badge, i) =>
    element.append(...drawBadge(badge, 2, 3 + i * BADGE, width - 4, false).filter(Boolean)),
  );
  return element;
}

/** The ground, border and title of a frame, from its own corner on. */
function drawFrame(frame) {
  const { width, height, group } = frame;
  const element = svg("g", { class: `frame ${group.kind}` });
  const title = shortened(frameTitle(frame), width - 2 * PADDING - 20, TITLE_FONT);
  const shown = textWidth(title, TITLE_FONT) + 26;
  const open = group.kind !== "run" || group.open;
  element.append(svg("rect", { class: "border", width, height, rx: 8 }));
  element.append(
    svg(
      "g",
      {
        class: "handle",
        tabindex: "0",
        role: "button",
        "aria-expanded": String(open),
        "aria-label": `${open ? "fold" : "unfold"} ${frameTitle(frame)}`,
      },
      svg("rect", { class: "ground", x: 6, y: 5, width: shown, height: 18, rx: 4 }),
      foldSign(10, 8, open),
      svg("text", { class: "title faint", x: 27, y: 18 }, title),
    ),
  );
  return element;
}

function frameTitle({ group, count, scope }) {
  const name = nameInside(group.name ?? group.title, scope);
  return count > 1 ? `${count} x   ${name}` : name;
}

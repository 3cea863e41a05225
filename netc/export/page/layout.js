// Where everything stands: each group by itself, inner ones first; long ones go on in columns.
//
// What leads into a group or out of it goes through a port on its border, one for each source.

const TITLE = 24; // Of a frame.
const PADDING = 14;
const GUTTER = 40; // Between columns.
const TALL = 1500; // A group that is higher goes on in columns.

/** Places for a tree of leaves and frames with `ways` between leaves; `aspect` is width by height.
 *
 * Leaves have their sizes. Returns {width, height, edges}; nodes get x, y from the whole's corner.
 */
function layoutTree(items, ways, aspect) {
  const root = { kind: "root", items: [...items] };
  adopt(root);
  const links = ways.flatMap((way) => linksOf(way));
  connect(root, links);
  layoutGroup(root, aspect, true);
  const edges = [];
  settle(root, 0, 0, edges);
  return { width: root.width, height: root.height, edges, root };
}

function adopt(group) {
  group.entries = new Map();
  group.exits = new Map();
  group.edges = [];
  for (const item of group.items) {
    item.parent = group;
    if (item.items) adopt(item);
  }
}

/** A connection as edges; its badges are a node on the way, in the group around both ends. */
function linksOf(way) {
  if (!way.node) return way.targets.map((to) => ({ from: way.source, to, arrow: true }));
  const around = commonGroup([way.source, ...way.targets]);
  way.node.parent = around;
  way.node.order = way.source.order + 0.5;
  around.items.push(way.node);
  const first = { from: way.source, to: way.node, arrow: false };
  return [first, ...way.targets.map((to) => ({ from: way.node, to, arrow: true }))];
}

function commonGroup(nodes) {
  const chains = nodes.map(chainUp);
  return chains[0].find((group) => chains.every((chain) => chain.includes(group)));
}

/** The groups around a node, inner ones first. */
function chainUp(node) {
  const chain = [];
  for (let group = node.parent; group; group = group.parent) chain.push(group);
  return chain;
}

/** Put every link into the groups that it passes. */
function connect(root, links) {
  const seen = new Set();
  for (const link of links) {
    const around = commonGroup([link.from, link.to]);
    const from = leave(link, around);
    const to = enter(link, around, seen);
    addEdge(around, { from, to, link, arrow: link.arrow && to === link.to }, seen);
  }
}

let nodeKeys = 0;

function keyOf(node) {
  node.key ??= nodeKeys += 1;
  return node.key;
}

function addEdge(group, edge, seen) {
  const key = `${keyOf(group)} ${keyOf(edge.from)} ${keyOf(edge.to)} ${keyOf(edge.link.from)}`;
  if (seen.has(key)) return;
  seen.add(key);
  group.edges.push(edge);
}

/** From a link's source up to the border of what `around` has of it. */
function leave(link, around) {
  let node = link.from;
  while (node.parent !== around) {
    const group = node.parent;
    if (!group.exits.has(link.from)) {
      const port = { port: true, last: true, width: 0, height: 0, order: Infinity, parent: group };
      group.exits.set(link.from, port);
      group.edges.push({ from: node, to: port, link, arrow: false });
    }
    node = group;
  }
  return node;
}

/** From the border of what `around` has of a link's target down to it. */
function enter(link, around, seen) {
  let node = link.to;
  while (node.parent !== around) {
    const group = node.parent;
    if (!group.entries.has(link.from)) {
      const port = { port: true, width: 0, height: 0, order: -1, parent: group };
      group.entries.set(link.from, port);
    }
    const port = group.entries.get(link.from);
    addEdge(group, { from: port, to: node, link, arrow: link.arrow && node === link.to }, seen);
    node = group;
  }
  return node;
}

function layoutGroup(group, aspect, isRoot = false) {
  for (const item of group.items) if (item.items) layoutGroup(item, 1.4);
  for (const item of group.items) item.order ??= firstOrder(item);
  const nodes = [...group.entries.values(), ...group.items, ...group.exits.values()];
  for (const edge of group.edges) {
    edge.fromX = exitX(edge);
    edge.toX = entryX(edge);
  }
  const ranks = layered(nodes, group.edges);
  const columns = isRoot || heightOf(ranks) > TALL ? bestColumns(ranks, aspect) : [ranks];
  const size = placeColumns(columns);
  routeEdges(group, columns, size);
  if (isRoot) Object.assign(group, size);
  else frameAround(group, size);
}

function firstOrder(item) {
  return item.items ? Math.min(...item.items.map(firstOrder)) : item.order;
}

/** Where an edge leaves a node, from its left side. */
function exitX({ from, link }) {
  const port = from.exits?.get(link.from);
  return port ? port.x : from.width / 2;
}

function entryX({ to, link }) {
  const port = to.entries?.get(link.from);
  return port ? port.x : to.width / 2;
}

function heightOf(ranks) {
  const last = ranks[ranks.length - 1][0];
  return last ? last.y + last.rankHeight : 0;
}

/** The ranks in as many columns as make the whole nearest to an aspect. */
function bestColumns(ranks, aspect) {
  const cuts = [...ranks.keys()].filter((rank) => rank > 0 && isNarrow(ranks, rank));
  let best = [ranks];
  const box = boxOf(ranks);
  const about = Math.sqrt((aspect * (box.bottom - box.top)) / Math.max(box.right - box.left, 1));
  for (let count = Math.max(2, Math.floor(about / 2)); count <= 2 * about + 1; count += 1) {
    const columns = cutRanks(ranks, cuts, count);
    if (misfit(columns, aspect) < misfit(best, aspect)) best = columns;
  }
  return best;
}

/** Whether all that leads over the border above a rank is the result of one card or group. */
function isNarrow(ranks, rank) {
  const sources = new Set(ranks[rank].flatMap((node) => node.above.map((piece) => piece.from)));
  const [source] = sources;
  const inside = ranks[rank].every((node) => !node.port);
  return inside && sources.size === 1 && !source.bend && !source.port && source.kind !== "way";
}

/** The ranks in about so many columns of about equal height, cut at some of `cuts`. */
function cutRanks(ranks, cuts, count) {
  const height = heightOf(ranks);
  const chosen = [0];
  let at = 0;
  for (let column = 1; column < count && at < cuts.length; column += 1) {
    const distance = (cut) => Math.abs(ranks[cut][0].y - (height * column) / count);
    while (at + 1 < cuts.length && distance(cuts[at + 1]) <= distance(cuts[at])) at += 1;
    chosen.push(cuts[at]);
    at += 1;
  }
  return chosen.map((start, i) => ranks.slice(start, chosen[i + 1] ?? ranks.length));
}

function misfit(columns, aspect) {
  const boxes = columns.map(boxOf);
  const width = boxes.reduce((sum, box) => sum + box.right - box.left + GUTTER, -GUTTER);
  const height = Math.max(...boxes.map((box) => box.bottom - box.top));
  return Math.abs(Math.log(Math.max(width, 1) / Math.max(height, 1) / aspect));
}

function boxOf(ranks) {
  const nodes = ranks.flat();
  return {
    left: Math.min(...nodes.map((node) => node.x)),
    right: Math.max(...nodes.map((node) => node.x + node.width)),
    top: Math.min(...nodes.map((node) => node.y)),
    bottom: Math.max(...nodes.map((node) => node.y + node.height)),
  };
}

/** Move columns beside each other, from the corner on; the size of all. */
function placeColumns(columns) {
  let [x, height] = [0, 0];
  columns.forEach((ranks, number) => {
    const box = boxOf(ranks);
    for (const node of ranks.flat()) {
      node.x += x - box.left;
      node.y -= box.top;
      node.column = number;
    }
    x += box.right - box.left + GUTTER;
    height = Math.max(height, box.bottom - box.top);
  });
  return { width: x - GUTTER, height };
}

/** The points of every edge. Over the border of a column it goes down, up the gutter, and down; that
 * is its first piece, since such a border is below the edge's source.
 */
function routeEdges(group, columns, size) {
  const feet = columns.map((ranks) => boxOf(ranks).bottom);
  const lefts = columns.map((ranks) => boxOf(ranks).left);
  for (const edge of group.edges) {
    const { from, to } = edge;
    const start = [from.x + edge.fromX, from.y + from.height];
    const end = [to.x + edge.toX, to.y];
    edge.points = [start];
    edge.corners = from.column !== to.column;
    if (edge.corners) {
      const gutter = lefts[from.column + 1] - GUTTER / 2;
      const [foot, head] = [feet[from.column] + 12, -12];
      const x = edge.bends.length ? edge.bends[0].x + 5 : end[0];
      edge.points.push([start[0], foot], [gutter, foot], [gutter, head], [x, head]);
    }
    for (const bend of edge.bends) {
      edge.points.push([bend.x + 5, bend.y], [bend.x + 5, bend.y + bend.rankHeight]);
    }
    edge.points.push(end);
  }
  size.height += columns.length > 1 ? 24 : 0;
  if (columns.length > 1) shiftDown(group, 12);
}

function shiftDown(group, by) {
  for (const node of [...group.items, ...group.entries.values(), ...group.exits.values()])
    node.y += by;
  for (const edge of group.edges) for (const point of edge.points) point[1] += by;
}

/** Room for a frame's border and title; ports are put on the border. */
function frameAround(group, size) {
  const titleWidth = (group.titleWidth ?? 0) + 2 * PADDING;
  const extra = Math.max(0, titleWidth - size.width - 2 * PADDING) / 2;
  const [dx, dy] = [PADDING + extra, TITLE + 6];
  group.width = size.width + 2 * dx;
  group.height = size.height + dy + PADDING;
  for (const node of group.items) Object.assign(node, { x: node.x + dx, y: node.y + dy });
  for (const edge of group.edges) {
    edge.points = edge.points.map(([x, y]) => [x + dx, y + dy]);
    if (edge.from.port) edge.points[0][1] = 0;
    if (edge.to.port) edge.points[edge.points.length - 1][1] = group.height;
  }
  for (const port of [...group.entries.values(), ...group.exits.values()]) port.x += dx;
}

/** From places in groups to places in the whole; collects the edges. */
function settle(group, x, y, edges) {
  group.x = (group.parent ? group.x : 0) + x;
  group.y = (group.parent ? group.y : 0) + y;
  for (const edge of group.edges) {
    edge.points = edge.points.map(([px, py]) => [px + group.x, py + group.y]);
    edges.push(edge);
  }
  for (const item of group.items) {
    if (item.items) settle(item, group.x, group.y, edges);
    else Object.assign(item, { x: item.x + group.x, y: item.y + group.y });
  }
}

/** An edge as the path of an SVG: curves that leave and arrive straight, or round corners. */
function pathOf({ points, corners }) {
  const start = `M${round(points[0])}`;
  if (!corners) return start + curved(points);
  return start + cornered(points.slice(0, 6)) + curved(points.slice(5));
}

function curved(points) {
  let path = "";
  for (let i = 1; i < points.length; i += 1) {
    const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
    const half = (y1 - y0) / 2;
    if (Math.abs(x0 - x1) < 0.5) path += `L${round([x1, y1])}`;
    else path += `C${round([x0, y0 + half])} ${round([x1, y1 - half])} ${round([x1, y1])}`;
  }
  return path;
}

function cornered(points) {
  let path = "";
  for (let i = 1; i < points.length - 1; i += 1) {
    const [before, at, after] = [points[i - 1], points[i], points[i + 1]];
    path += `L${round(towards(at, before, 6))}Q${round(at)} ${round(towards(at, after, 6))}`;
  }
  return `${path}L${round(points[points.length - 1])}`;
}

function towards([x, y], [toX, toY], distance) {
  const length = Math.hypot(toX - x, toY - y) || 1;
  const part = Math.min(distance, length / 2) / length;
  return [x + (toX - x) * part, y + (toY - y) * part];
}

function round([x, y]) {
  return `${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10}`;
}

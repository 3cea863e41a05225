// Nodes in ranks, by Sugiyama's method: ranks by the longest way, long edges as chains of points,
// order by the middle of neighbours, places by least squares.
//
// A node has width, height and order; an edge has from, to, and fromX, toX: where it leaves and
// arrives, from the left side of its nodes. Edges go from lower to higher order.

const BESIDE = 22; // Between nodes of a rank.
const BELOW = 26; // Between ranks.
const SWEEPS = 8;

/** Give every node x, y and rank, and every edge the `bends` that it goes through. */
function layered(nodes, edges) {
  const ranks = rankNodes(nodes, edges);
  const pieces = splitEdges(ranks, edges);
  const all = ranks.flat();
  for (const node of all) node.above = node.below = null;
  for (const node of all) Object.assign(node, { above: [], below: [] });
  for (const piece of pieces) {
    piece.from.below.push(piece);
    piece.to.above.push(piece);
  }
  orderRanks(ranks);
  placeAcross(ranks);
  placeDown(ranks);
  return ranks;
}

function rankNodes(nodes, edges) {
  const sorted = [...nodes].sort((a, b) => a.order - b.order);
  const after = new Map(nodes.map((node) => [node, []]));
  for (const edge of edges) after.get(edge.from).push(edge.to);
  for (const node of nodes) node.rank = 0;
  for (const node of sorted) {
    for (const next of after.get(node)) next.rank = Math.max(next.rank, node.rank + 1);
  }
  const last = Math.max(0, ...nodes.map((node) => node.rank));
  for (const node of nodes) if (node.last) node.rank = last;
  const ranks = Array.from({ length: last + 1 }, () => []);
  for (const node of sorted) ranks[node.rank].push(node);
  return ranks;
}

/** Edges as pieces between neighbouring ranks; bends are nodes without height. */
function splitEdges(ranks, edges) {
  const pieces = [];
  for (const edge of edges) {
    edge.bends = [];
    let [from, fromX] = [edge.from, edge.fromX];
    for (let rank = edge.from.rank + 1; rank < edge.to.rank; rank += 1) {
      const bend = { bend: true, width: 10, height: 0, rank, order: edge.from.order };
      edge.bends.push(bend);
      ranks[rank].push(bend);
      pieces.push({ from, fromX, to: bend, toX: 5 });
      [from, fromX] = [bend, 5];
    }
    pieces.push({ from, fromX, to: edge.to, toX: edge.toX });
  }
  return pieces;
}

function orderRanks(ranks) {
  for (const rank of ranks) rank.forEach((node, i) => (node.position = i));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const rank of down ? ranks : [...ranks].reverse()) {
      for (const node of rank) node.wish = wishedPosition(node, down);
      rank.sort((a, b) => a.wish - b.wish || a.position - b.position);
      rank.forEach((node, i) => (node.position = i));
    }
  }
}

function wishedPosition(node, down) {
  const ends = down
    ? node.above.map((p) => [p.from, p.fromX])
    : node.below.map((p) => [p.to, p.toX]);
  if (!ends.length) return node.position;
  const sum = ends.reduce((s, [other, x]) => s + other.position + x / (other.width + 1), 0);
  return sum / ends.length - 0.5;
}

function placeAcross(ranks) {
  for (const rank of ranks) {
    let x = 0;
    for (const node of rank) {
      node.x = x;
      x += node.width + BESIDE;
    }
    for (const node of rank) node.x -= x / 2;
  }
  for (let sweep = 0; sweep < 2 * SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const rank of down ? ranks : [...ranks].reverse()) {
      const both = sweep >= 2 * SWEEPS - 4;
      for (const node of rank) node.wish = wishedX(node, down || both, !down || both);
      spread(rank);
    }
  }
}

/** Where a node would have its edges straight; nodes count more than bends and ports. */
function wishedX(node, above, below) {
  let [sum, weights] = [0, 0];
  const add = (x, weight) => {
    sum += x * weight;
    weights += weight;
  };
  const weight = (other) => (!other.bend && !other.port ? 1 : node.bend && other.bend ? 4 : 0.1);
  if (above) for (const p of node.above) add(p.from.x + p.fromX - p.toX, weight(p.from));
  if (below) for (const p of node.below) add(p.to.x + p.toX - p.fromX, weight(p.to));
  node.pull = weights || 0.1;
  return weights ? sum / weights : node.x;
}

/** Places that are nearest to what nodes wish, in order and without overlap: by pooling. */
function spread(rank) {
  let offset = 0;
  const pools = [];
  for (const node of rank) {
    const weight = node.pull;
    let pool = { sum: (node.wish - offset) * weight, weight, nodes: [[node, offset]] };
    offset += node.width + BESIDE;
    while (pools.length && mean(pools[pools.length - 1]) >= mean(pool)) {
      const before = pools.pop();
      const nodes = before.nodes.concat(pool.nodes);
      pool = { sum: before.sum + pool.sum, weight: before.weight + pool.weight, nodes };
    }
    pools.push(pool);
  }
  for (const pool of pools) for (const [node, own] of pool.nodes) node.x = mean(pool) + own;
}

function mean(pool) {
  return pool.sum / pool.weight;
}

function placeDown(ranks) {
  let y = 0;
  for (const rank of ranks) {
    const height = Math.max(0, ...rank.map((node) => node.height));
    for (const node of rank) {
      node.y = y;
      node.rankHeight = height;
    }
    y += height + (height ? BELOW : 10);
  }
}

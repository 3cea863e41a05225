// The graph of a plan: drawn as SVG, moved and zoomed; only what is in sight is in the document.

const ZOOMS = [0.02, 4];
const FAR = 0.42; // Below this zoom texts are left out.
const TINY = 0.13; // Below, so are names, where there are many shapes.
const MANY_SHOWN = 600; // Above, what is out of sight is taken out of the document.

/** The graph of a plan in `box`; `page` is told what is pointed at and chosen. */
function makeGraph(plan, box, page) {
  const camera = svg("g", {});
  const shapes = svg("g", {});
  const surface = svg(
    "svg",
    { class: "graph", role: "group", "aria-label": `graph of ${plan.name}` },
    svg(
      "defs",
      {},
      svg(
        "marker",
        {
          id: "head",
          viewBox: "0 0 8 8",
          refX: 7,
          refY: 4,
          markerWidth: 7,
          markerHeight: 7,
          orient: "auto",
        },
        svg("path", { class: "head", d: "M0 0.8L8 4L0 7.2Z" }),
      ),
    ),
    camera,
  );
  camera.append(shapes);
  box.append(surface);
  const graph = { plan, box, surface, camera, shapes, page, x: 0, y: 0, zoom: 1, drawn: [] };
  listen(graph);
  return graph;
}

/** Lay the graph out anew and draw it; `keep` is a card that stays where it is on the screen. */
function redrawGraph(graph, keep = null) {
  const { plan, page } = graph;
  const before = keep === null ? null : graph.shown?.leafOf.get(keep);
  const held = before && { x: before.x * graph.zoom + graph.x, y: before.y * graph.zoom + graph.y };
  graph.shown = shownItems(plan);
  for (const leaf of graph.shown.leaves) measureLeaf(plan, leaf, page.shows);
  measureFrames(graph.shown.items);
  const ways = shownWays(plan, graph.shown);
  for (const way of ways) way.node = wayNode(plan, way, page.shows);
  graph.layout = layoutTree(graph.shown.items, ways, aspectOf(graph));
  graph.shapes.replaceChildren();
  graph.drawn = drawables(graph, ways);
  if (held) {
    const after = graph.shown.leafOf.get(keep);
    Object.assign(graph, { x: held.x - after.x * graph.zoom, y: held.y - after.y * graph.zoom });
  }
  for (const each of graph.drawn) each.element = null;
  showView(graph);
}

function measureFrames(items) {
  for (const item of items) {
    if (!item.items) continue;
    item.titleWidth = Math.min(textWidth(frameTitle(item), TITLE_FONT) + 30, 300);
    measureFrames(item.items);
  }
}

function aspectOf({ box }) {
  return Math.max(0.4, (box.clientWidth || 1200) / (box.clientHeight || 700));
}

/** Everything to draw, from back to front: {box, make}. */
function drawables(graph, ways) {
  const { plan, layout, shown } = graph;
  const frames = framesIn(shown.items);
  const edges = layout.edges.map((edge) => ({
    box: edgeBox(edge.points),
    make: (level) => drawEdge(edge, level),
  }));
  const grounds = frames.map((frame) => ({ box: frame, make: () => frameGround(frame) }));
  const titles = frames.map((frame) => ({
    box: frame,
    make: () => placed(drawFrame(frame), frame),
    frame,
  }));
  const leaves = shown.leaves.map((leaf) => ({
    box: leaf,
    make: (level) => placed(drawLeaf(plan, leaf, level), leaf),
    leaf,
  }));
  const nodes = ways.map((way) => way.node).filter(Boolean);
  const badges = nodes.map((node) => ({
    box: node,
    make: () => placed(drawWay(plan, node), node),
    way: node,
  }));
  return [...grounds, ...edges, ...titles, ...leaves, ...badges];
}

function framesIn(items) {
  return items.flatMap((item) => (item.items ? [item, ...framesIn(item.items)] : []));
}

function edgeBox(points) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
}

function placed(element, { x, y }) {
  element.setAttribute(
    "transform",
    `translate(${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10})`,
  );
  return element;
}

function frameGround({ x, y, width, height, group }) {
  return svg("rect", { class: `frame-ground ${group.kind}`, x, y, width, height, rx: 8 });
}

function drawEdge(edge, level) {
  const head = edge.arrow && level === "whole" ? "url(#head)" : null;
  return svg("path", { class: "edge", d: pathOf(edge), "marker-end": head });
}

/** How much of each shape is drawn: of thousands that are far away, names or mere boxes. */
function levelOf({ drawn, zoom }) {
  if (drawn.length < MANY_SHOWN || zoom >= FAR) return "whole";
  return zoom < TINY ? "box" : "name";
}

/** Put what is in sight into the document, in its order, and take out the rest. */
function showView(graph, all = false) {
  const { camera, surface, shapes, drawn } = graph;
  const level = all ? "whole" : levelOf(graph);
  if (graph.level !== level) {
    graph.level = level;
    shapes.replaceChildren();
    for (const each of drawn) each.element = null;
  }
  camera.setAttribute("transform", `translate(${graph.x} ${graph.y}) scale(${graph.zoom})`);
  surface.classList.toggle("far", graph.zoom < FAR && !all);
  const sight = windowOf(graph); // Asked once: the answer costs a layout after every change.
  const few = all || drawn.length < MANY_SHOWN;
  let next = shapes.firstChild;
  for (const each of drawn) {
    const wanted = few || isInside(sight, each.box) || each.element === document.activeElement;
    if (!wanted) {
      if (each.element) {
        if (next === each.element) next = next.nextSibling;
        each.element.remove();
        each.element = null;
      }
      continue;
    }
    if (each.element) next = each.element.nextSibling;
    else {
      each.element = each.make(level);
      each.element.drawable = each;
      shapes.insertBefore(each.element, next);
    }
  }
  markGraph(graph);
}

/** What the window shows of the graph, and some more around it. */
function windowOf({ x, y, zoom, box }) {
  const margin = 200;
  const { clientWidth, clientHeight } = box;
  return {
    left: (-margin - x) / zoom,
    top: (-margin - y) / zoom,
    right: (clientWidth + margin - x) / zoom,
    bottom: (clientHeight + margin - y) / zoom,
  };
}

function isInside({ left, top, right, bottom }, { x, y, width, height }) {
  return x < right && x + width > left && y < bottom && y + height > top;
}

/** Mark what is chosen, pointed at, found and different. */
function markGraph(graph) {
  for (const each of graph.drawn) {
    if (!each.element || !(each.leaf || each.way)) continue;
    const marks = each.leaf ? leafMarks(graph, each.leaf) : wayMarks(graph, each.way);
    const text = Object.keys(marks)
      .filter((mark) => marks[mark])
      .join(" ");
    if (each.marks === text && each.marked === each.element) continue;
    for (const [mark, set] of Object.entries(marks)) each.element.classList.toggle(mark, set);
    Object.assign(each, { marks: text, marked: each.element });
  }
}

function leafMarks({ plan, page }, leaf) {
  leaf.names ??= layersIn(plan, leaf).map((number) => plan.plan.layers[number].name);
  const has = (set) => set.size > 0 && leaf.names.some((name) => set.has(name));
  const found = has(page.found);
  return {
    chosen: page.chosen !== null && leaf.names.includes(page.chosen),
    pointed: has(page.pointed),
    found,
    dim: page.found.size > 0 && !found,
    differs: has(page.differing),
  };
}

function wayMarks({ plan, page }, way) {
  const own = way.badges.flatMap((badge) => badge.exchanges).map((n) => plan.exchanges[n]);
  return {
    pointed: own.some((each) => page.pointedExchanges.has(each.name)),
    differs: own.some((each) => page.differingExchanges.has(exchangeKey(each))),
  };
}

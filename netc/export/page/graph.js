// The graph of a plan: drawn as SVG, moved and zoomed; only what is in sight is in the document.

const ZOOMS = [0.02, 4];
const FAR = 0.42; // Below this zoom texts are left out.
const MANY_SHOWN = 600; // Above, what is out of sight is taken out of the document.

/** The graph of a plan in `box`; `page` is told what is pointed at and chosen. */
function makeGraph(plan, box, page) {
  const camera = svg("g", {});
  const shapes = svg("g", {});
  const surface = svg("svg", { class: "graph", role: "group", "aria-label": `graph of ${plan.name}` },
    svg("defs", {}, svg("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      svg("path", { class: "head", d: "M0 0.8L8 4L0 7.2Z" }))), camera);
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
  const edges = layout.edges.map((edge) => ({ box: edgeBox(edge.points), make: () => drawEdge(edge) }));
  const grounds = frames.map((frame) => ({ box: frame, make: () => frameGround(frame) }));
  const titles = frames.map((frame) => ({ box: frame, make: () => placed(drawFrame(frame), frame), frame }));
  const leaves = shown.leaves.map((leaf) => ({ box: leaf, make: () => placed(drawLeaf(plan, leaf), leaf), leaf }));
  const nodes = ways.map((way) => way.node).filter(Boolean);
  const badges = nodes.map((node) => ({ box: node, make: () => placed(drawWay(plan, node), node), way: node }));
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
  element.setAttribute("transform", `translate(${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10})`);
  return element;
}

function frameGround({ x, y, width, height, group }) {
  return svg("rect", { class: `frame-ground ${group.kind}`, x, y, width, height, rx: 8 });
}

function drawEdge(edge) {
  return svg("path", { class: "edge", d: pathOf(edge), "marker-end": edge.arrow ? "url(#head)" : null });
}

/** Put what is in sight into the document, in its order, and take out the rest. */
function showView(graph, all = false) {
  const { camera, surface, shapes, drawn } = graph;
  camera.setAttribute("transform", `translate(${graph.x} ${graph.y}) scale(${graph.zoom})`);
  surface.classList.toggle("far", graph.zoom < FAR && !all);
  const few = all || drawn.length < MANY_SHOWN;
  let next = shapes.firstChild;
  for (const each of drawn) {
    const wanted = few || inSight(graph, each.box) || each.element === document.activeElement;
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
      each.element = each.make();
      each.element.drawable = each;
      shapes.insertBefore(each.element, next);
    }
  }
  markGraph(graph);
}

function inSight({ x, y, zoom, box }, { x: left, y: top, width, height }) {
  const margin = 200;
  const [x0, y0] = [left * zoom + x, top * zoom + y];
  return x0 < box.clientWidth + margin && x0 + width * zoom > -margin &&
    y0 < box.clientHeight + margin && y0 + height * zoom > -margin;
}

/** The whole graph in the window. */
function fitGraph(graph) {
  const { clientWidth: width, clientHeight: height } = graph.box;
  const { layout } = graph;
  const zoom = Math.min((width - 40) / layout.width, (height - 40) / layout.height, 1.2);
  graph.zoom = Math.max(ZOOMS[0], zoom);
  graph.x = (width - layout.width * graph.zoom) / 2;
  graph.y = Math.max(20, (height - layout.height * graph.zoom) / 2);
  showView(graph);
}

/** Zoom by a factor around a point of the window, its middle by default. */
function zoomGraph(graph, factor, at = null) {
  const [px, py] = at ?? [graph.box.clientWidth / 2, graph.box.clientHeight / 2];
  const zoom = Math.min(ZOOMS[1], Math.max(ZOOMS[0], graph.zoom * factor));
  graph.x = px - ((px - graph.x) * zoom) / graph.zoom;
  graph.y = py - ((py - graph.y) * zoom) / graph.zoom;
  graph.zoom = zoom;
  showView(graph);
}

function panGraph(graph, dx, dy) {
  graph.x += dx;
  graph.y += dy;
  showView(graph);
}

/** Move a layer into the window if it is not there, large enough to be read. */
function bringIntoView(graph, layer) {
  const number = graph.plan.numbers.get(layer);
  if (number === undefined) return;
  const { x, y, width, height } = graph.shown.leafOf.get(graph.plan.cardOf.get(number));
  if (graph.zoom < 0.5) zoomGraph(graph, 0.8 / graph.zoom);
  const { clientWidth, clientHeight } = graph.box;
  const [left, top] = [x * graph.zoom + graph.x, y * graph.zoom + graph.y];
  const inside = left > 20 && top > 20 && left + width * graph.zoom < clientWidth - 20 && top + height * graph.zoom < clientHeight - 20;
  if (!inside) {
    graph.x = clientWidth / 2 - (x + width / 2) * graph.zoom;
    graph.y = clientHeight / 2 - (y + height / 2) * graph.zoom;
  }
  showView(graph);
}

/** Mark what is chosen, pointed at, found and different. */
function markGraph(graph) {
  const { plan, page } = graph;
  for (const { element, leaf, way } of graph.drawn) {
    if (!element) continue;
    if (leaf) {
      const names = leaf.shownCards.flatMap((card) => card.layers).map((n) => plan.plan.layers[n].name);
      const has = (set) => names.some((name) => set.has(name));
      element.classList.toggle("chosen", names.includes(page.chosen));
      element.classList.toggle("pointed", has(page.pointed));
      element.classList.toggle("found", has(page.found));
      element.classList.toggle("dim", page.found.size > 0 && !has(page.found));
      element.classList.toggle("differs", has(page.differing));
    } else if (way) {
      const own = way.badges.flatMap((badge) => badge.exchanges);
      element.classList.toggle("pointed", own.some((number) => page.pointedExchanges.has(plan.exchanges[number].name)));
      element.classList.toggle("differs", own.some((number) => page.differingExchanges.has(exchangeKey(plan.exchanges[number]))));
    }
  }
}

function listen(graph) {
  const { surface, page } = graph;
  surface.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { left, top } = surface.getBoundingClientRect();
    zoomGraph(graph, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), [event.clientX - left, event.clientY - top]);
  }, { passive: false });
  surface.addEventListener("pointerdown", (event) => {
    page.current = graph.plan;
    if (event.button === 0) dragGraph(graph, event);
  });
  for (const type of ["pointerover", "focusin"]) {
    surface.addEventListener(type, (event) => pointAtDrawn(graph, drawableOf(event.target)));
  }
  surface.addEventListener("pointerleave", () => page.pointAt(graph.plan, []));
  surface.addEventListener("click", (event) => {
    if (!graph.dragged) press(graph, event.target);
  });
  surface.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press(graph, event.target);
  });
}

function dragGraph(graph, down) {
  graph.dragged = false;
  let [x, y] = [down.clientX, down.clientY];
  const move = (event) => {
    const [dx, dy] = [event.clientX - x, event.clientY - y];
    if (!graph.dragged && Math.hypot(dx, dy) < 4) return;
    graph.dragged = true;
    [x, y] = [event.clientX, event.clientY];
    panGraph(graph, dx, dy);
  };
  const up = () => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", up);
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", up);
}

function drawableOf(target) {
  for (let element = target; element && element !== document; element = element.parentNode) {
    if (element.drawable) return element.drawable;
  }
  return null;
}

function pointAtDrawn(graph, drawable) {
  const { plan, page } = graph;
  if (drawable?.leaf) page.pointAt(plan, layersIn(plan, drawable.leaf));
  else if (drawable?.way) page.pointAt(plan, [], drawable.way.badges.flatMap((badge) => badge.exchanges));
  else page.pointAt(plan, []);
}

function layersIn(plan, leaf) {
  return leaf.shownCards.flatMap((card) => card.layers);
}

function press(graph, target) {
  const { plan, page } = graph;
  const drawable = drawableOf(target);
  if (!drawable) page.choose(plan, null);
  else if (drawable.frame) {
    if (target.closest(".handle")) foldGroup(graph, drawable.frame.group);
  } else if (drawable.leaf) {
    if (drawable.leaf.group && (target.closest(".fold") || drawable.leaf.kind === "closed")) foldGroup(graph, drawable.leaf.group);
    else page.choose(plan, layersIn(plan, drawable.leaf)[0]);
  } else if (drawable.way) page.chooseExchanges(plan, drawable.way.badges.flatMap((badge) => badge.exchanges));
}

/** Open or close a group. */
function foldGroup(graph, group) {
  group.open = !group.open;
  redrawGraph(graph, leavesOf(group)[0]);
}

/** Open everything around a card. */
function unfoldAround(graph, card) {
  const around = groupsAround(graph.plan.folding, card);
  const hidden = around.some((group) => !group.open && (group.kind !== "run" || graph.shown.copies.has(card)));
  if (!hidden) return;
  for (const group of around) if (group.kind !== "run" || graph.shown.copies.has(card)) group.open = true;
  redrawGraph(graph);
}

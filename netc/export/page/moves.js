// Moving in the graph, pointing at cards, choosing and folding.

/** Around a graph that fits. */
const MARGIN = 12;

/** The whole graph in the window. */
function fitGraph(graph) {
  const { clientWidth: width, clientHeight: height } = graph.box;
  const { layout } = graph;
  const zoom = Math.min(
    (width - 2 * MARGIN) / layout.width,
    (height - 2 * MARGIN) / layout.height,
    1.2,
  );
  graph.zoom = Math.max(ZOOMS[0], zoom);
  graph.x = (width - layout.width * graph.zoom) / 2;
  graph.y = Math.max(MARGIN, (height - layout.height * graph.zoom) / 2);
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
  const inside =
    left > 20 &&
    top > 20 &&
    left + width * graph.zoom < clientWidth - 20 &&
    top + height * graph.zoom < clientHeight - 20;
  if (!inside) {
    graph.x = clientWidth / 2 - (x + width / 2) * graph.zoom;
    graph.y = clientHeight / 2 - (y + height / 2) * graph.zoom;
  }
  showView(graph);
}

function listen(graph) {
  const { surface, page } = graph;
  surface.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { left, top } = surface.getBoundingClientRect();
      zoomGraph(graph, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), [
        event.clientX - left,
        event.clientY - top,
      ]);
    },
    { passive: false },
  );
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
  else if (drawable?.way)
    page.pointAt(
      plan,
      [],
      drawable.way.badges.flatMap((badge) => badge.exchanges),
    );
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
    if (drawable.leaf.group && (target.closest(".fold") || drawable.leaf.kind === "closed"))
      foldGroup(graph, drawable.leaf.group);
    else page.choose(plan, layersIn(plan, drawable.leaf)[0]);
  } else if (drawable.way)
    page.chooseExchanges(
      plan,
      drawable.way.badges.flatMap((badge) => badge.exchanges),
    );
}

/** Open or close a group. */
function foldGroup(graph, group) {
  const focused = graph.shapes.contains(document.activeElement);
  nextFold(group);
  redrawGraph(graph, leavesOf(group)[0]);
  if (focused) focusGroup(graph, group);
}

/** Put the keyboard back where it was before the graph was drawn anew. */
function focusGroup(graph, group) {
  const found = graph.drawn.find(({ frame, leaf }) => (frame ?? leaf)?.group === group);
  if (found?.element) (found.element.querySelector(".handle") ?? found.element).focus();
}

/** Open everything around a card. */
function unfoldAround(graph, card) {
  const around = groupsAround(graph.plan.folding, card);
  const hidden = around.some(
    (group) => !group.open && (group.kind !== "run" || graph.shown.copies.has(card)),
  );
  if (!hidden) return;
  for (const group of around)
    if (group.kind !== "run" || graph.shown.copies.has(card)) group.open = true;
  redrawGraph(graph);
}

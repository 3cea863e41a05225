// A step on the clock: one lane for each stream of each class of devices, memory below them.
//
// Drawn on a canvas: there are thousands of instructions. Times are nanoseconds.

const LABELS = 128; // Room for the names of lanes.
const LANE = 20;
const AXIS = 22;
const MEMORY = 130; // Height of the picture of memory.
const FEW_LANES = 10; // With more, one class of devices is shown at first.

/** The clock of a plan in `box`, with its choice of devices. */
function makeClock(plan, box, page) {
  const canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": `the step of ${plan.name} on the clock` });
  const scroll = el("div", { class: "clock-scroll" }, canvas);
  const clock = { plan, page, canvas, scroll, from: 0, to: plan.clock.nanoseconds, class_: null, cursor: null };
  clock.peaks = plan.storages.map((storages) => peakOf(storages));
  if (lanesOf(clock).length > FEW_LANES) clock.class_ = 0;
  const head = el("div", { class: "clock-head" }, page.plans.length > 1 && el("b", {}, plan.name),
    el("span", {}, stepText(plan)), classChoice(clock),
    button("\u2212", "zoom out", () => zoomClock(clock, 1 / 1.5)), button("+", "zoom in", () => zoomClock(clock, 1.5)),
    button("all", "the whole step", () => showTimes(clock, 0, page.longestStep)));
  box.append(el("div", { class: "clock" }, head, scroll));
  listenToClock(clock);
  new ResizeObserver(() => drawClock(clock)).observe(scroll);
  return clock;
}

function stepText(plan) {
  const { nanoseconds: all, exposed } = plan.clock;
  const path = plan.bars.filter((bar) => bar.critical);
  const moving = path.filter((bar) => bar.moves).reduce((sum, bar) => sum + bar.end - bar.start, 0);
  return `step ${nanoseconds(all)}; not computing ${exposed ? nanoseconds(exposed) : "0 s"}; critical path: ${percent(all - moving, all)} computation, ${percent(moving, all)} exchange`;
}

function classChoice(clock) {
  const { classes } = clock.plan.clock;
  if (classes.length < 2) return null;
  const options = [el("option", { value: "all" }, "all devices"), ...classes.map((own, i) =>
    el("option", { value: i, selected: clock.class_ === i }, devicesText(own.devices)))];
  return el("select", { "aria-label": "devices on the clock", onchange: (event) => {
    clock.class_ = event.target.value === "all" ? null : Number(event.target.value);
    drawClock(clock);
  } }, options);
}

/** Class and stream of every lane that is shown. */
function lanesOf(clock) {
  const { plan } = clock;
  const found = new Map();
  for (const bar of plan.bars) {
    if (clock.class_ !== null && bar.class_ !== clock.class_) continue;
    const key = bar.class_ * plan.legend.streams.length + bar.stream;
    if (!found.has(key)) found.set(key, { class_: bar.class_, stream: bar.stream, bars: [], key });
    found.get(key).bars.push(bar);
  }
  const lanes = [...found.values()].sort((a, b) => a.key - b.key);
  for (const lane of lanes) lane.bars.sort((a, b) => a.start - b.start || a.number - b.number);
  return lanes;
}

/** Draw everything; `scale` is the number of canvas pixels for one of the page. */
function drawClock(clock, scale = window.devicePixelRatio || 1) {
  const { canvas, scroll, plan } = clock;
  clock.lanes = lanesOf(clock);
  clock.width = Math.max(300, scroll.clientWidth);
  clock.memoryTop = AXIS + clock.lanes.length * LANE + 8;
  clock.height = clock.memoryTop + (plan.memory ? MEMORY + 6 : 0);
  Object.assign(canvas, { width: clock.width * scale, height: clock.height * scale });
  canvas.style.width = `${clock.width}px`;
  canvas.style.height = `${clock.height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  clock.colors = Object.fromEntries(["ink", "faint", "line", "card", "forward", "backward", "update", "exchange", "accent", "ground", "persistent", "input", "temporary", "output"].map((name) => [name, color(name)]));
  drawAxis(clock, pen);
  clock.lanes.forEach((lane, i) => drawLane(clock, pen, lane, AXIS + i * LANE));
  drawCritical(clock, pen);
  if (plan.memory) drawMemory(clock, pen);
  drawCursor(clock, pen);
}

/** Where a time is drawn, and the inverse. */
function xOf(clock, time) {
  return LABELS + ((time - clock.from) * (clock.width - LABELS - 8)) / (clock.to - clock.from);
}

function timeAt(clock, x) {
  return clock.from + ((x - LABELS) * (clock.to - clock.from)) / (clock.width - LABELS - 8);
}

function drawAxis(clock, pen) {
  const { colors, from, to } = clock;
  const step = niceStep((to - from) / 8);
  pen.font = `11px ${FONT}`;
  pen.textAlign = "center";
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    const x = xOf(clock, time);
    pen.fillStyle = colors.line;
    pen.fillRect(x, AXIS - 5, 1, clock.height - AXIS + 5);
    pen.fillStyle = colors.faint;
    pen.fillText(time ? nanoseconds(time) : "0", Math.min(x, clock.width - 24), 12);
  }
}

/** One, two or five times a power of ten, at least `least`. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= least);
}

function drawLane(clock, pen, lane, y) {
  const { plan, colors } = clock;
  pen.fillStyle = colors.faint;
  pen.textAlign = "left";
  pen.font = `11px ${FONT}`;
  const devices = plan.clock.classes.length > 1 ? `${devicesText(plan.clock.classes[lane.class_].devices)} ` : "";
  pen.fillText(shortened(devices + plan.legend.streams[lane.stream], LABELS - 8, `11px ${FONT}`), 4, y + 14);
  pen.save();
  pen.beginPath();
  pen.rect(LABELS, y, clock.width - LABELS - 6, LANE);
  pen.clip();
  let drawnTo = -1;
  for (const bar of lane.bars) {
    if (bar.end < clock.from || bar.start > clock.to) continue;
    const [x, end] = [xOf(clock, bar.start), xOf(clock, bar.end)];
    if (end < drawnTo + 0.3 && !barStands(clock, bar)) continue;
    drawnTo = Math.max(drawnTo, end);
    drawBar(clock, pen, bar, x, y, Math.max(end - x, 0.6));
  }
  pen.restore();
}

/** Whether a bar is chosen or pointed at. */
function barStands({ plan, page }, bar) {
  if (page.chosenBar === bar || page.pointedBar === bar) return true;
  if (bar.exchanges.some((number) => page.pointedExchanges.has(plan.exchanges[number].name))) return true;
  return bar.layers.some((number) => {
    const { name } = plan.plan.layers[number];
    return page.pointed.has(name) || page.chosen === name;
  });
}

function drawBar(clock, pen, bar, x, y, width) {
  const { page, colors, plan } = clock;
  const stands = barStands(clock, bar);
  const hidden = !page.shows.phases.has(bar.phase) || (page.shows.round !== null && bar.round >= 0 && bar.round !== page.shows.round);
  pen.globalAlpha = hidden ? 0.12 : anythingStands(page) && !stands ? 0.4 : 1;
  pen.fillStyle = bar.moves ? colors.exchange : colors[bar.phase];
  pen.fillRect(x, y + 2, width > 3 ? width - 0.7 : width, LANE - 5);
  if (stands) {
    pen.strokeStyle = colors.ink;
    pen.lineWidth = page.chosenBar === bar ? 2.5 : 1.5;
    pen.strokeRect(x + 0.5, y + 2.5, Math.max(width - 1.5, 0.5), LANE - 6);
  }
  if (width > 34) {
    const name = bar.layers.length ? plan.plan.layers[bar.layers[0]].name : "";
    pen.fillStyle = bar.phase === "backward" && !bar.moves ? "#ffffff" : "#10151c";
    pen.font = `10px ${FONT}`;
    pen.textAlign = "left";
    pen.fillText(lastPart(bar.moves ? `${bar.word.replaceAll("_", "-")} ${name}` : name, width - 8, pen.font), x + 4, y + 13);
  }
  pen.globalAlpha = 1;
}

/** A layer's name, without the blocks it is in where there is no room for them. */
function lastPart(name, room, font) {
  const whole = textWidth(name, font) <= room;
  return shortened(whole ? name : name.slice(name.lastIndexOf(".") + 1), room, font);
}

function anythingStands(page) {
  return page.chosen !== null || page.pointed.size > 0 || page.pointedExchanges.size > 0;
}

/** A line below what the step waits for, and from each to the next. */
function drawCritical(clock, pen) {
  if (!clock.page.shows.critical) return;
  const { critical } = clock.plan.clock;
  const places = new Map(clock.lanes.map((lane, i) => [lane.key, AXIS + i * LANE + LANE - 2]));
  const streams = clock.plan.legend.streams.length;
  clock.byPlace ??= new Map(clock.plan.bars.map((bar) => [`${bar.number} ${bar.class_}`, bar]));
  pen.save();
  pen.beginPath();
  pen.rect(LABELS, 0, clock.width - LABELS, clock.memoryTop);
  pen.clip();
  pen.fillStyle = clock.colors.ink;
  let [before, drawnAt] = [null, -Infinity];
  for (let i = 0; i < critical.length; i += 2) {
    const bar = clock.byPlace.get(`${critical[i]} ${critical[i + 1]}`);
    const y = places.get(bar.class_ * streams + bar.stream) ?? null;
    const x = xOf(clock, bar.start);
    if (y !== null) pen.fillRect(x, y - 1, Math.max(xOf(clock, bar.end) - x, 0.5), 2.5);
    const apart = x - drawnAt > 3; // Where there is no room between them, lines would hide the lanes.
    if (y !== null && before !== null && y !== before && apart) {
      pen.fillRect(x, Math.min(y, before), 0.8, Math.abs(y - before));
      drawnAt = x;
    }
    before = y;
  }
  pen.restore();
}

function drawCursor(clock, pen) {
  if (clock.cursor === null) return;
  const x = xOf(clock, clock.cursor);
  if (x < LABELS || x > clock.width) return;
  pen.fillStyle = clock.colors.accent;
  pen.fillRect(x, AXIS - 4, 1, clock.height);
}

// Moving

/** Show the times between two. */
function showTimes(clock, from, to) {
  for (const each of clock.page.clocks) {
    Object.assign(each, { from, to });
    drawClock(each);
  }
}

/** Zoom by a factor around a time, the middle by default. */
function zoomClock(clock, factor, at = (clock.from + clock.to) / 2) {
  const all = clock.page.longestStep;
  const span = Math.min(all, Math.max(50, (clock.to - clock.from) / factor));
  const part = (at - clock.from) / (clock.to - clock.from);
  const from = Math.max(0, Math.min(at - part * span, all - span));
  showTimes(clock, from, from + span);
}

/** Move by a part of what is shown. */
function panClock(clock, part) {
  const span = clock.to - clock.from;
  const from = Math.max(0, Math.min(clock.from + part * span, clock.page.longestStep - span));
  showTimes(clock, from, from + span);
}

/** The bar at a place of the canvas, or null. */
function barAt(clock, x, y) {
  const lane = clock.lanes[Math.floor((y - AXIS) / LANE)];
  if (!lane || y < AXIS || x < LABELS) return null;
  const time = timeAt(clock, x);
  const slack = 2 * (timeAt(clock, x + 1) - time);
  let best = null;
  for (const bar of lane.bars) {
    const distance = Math.max(bar.start - time, time - bar.end, 0);
    if (distance <= slack && (!best || distance < best[0])) best = [distance, bar];
  }
  return best && best[1];
}

function listenToClock(clock) {
  const { canvas, page, plan } = clock;
  const at = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  canvas.addEventListener("wheel", (event) => {
    if (event.shiftKey) return;
    event.preventDefault();
    const side = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (side) panClock(clock, event.deltaX / 1000);
    else zoomClock(clock, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), timeAt(clock, Math.max(LABELS, at(event)[0])));
  }, { passive: false });
  canvas.addEventListener("pointermove", (event) => event.buttons || pointAtClock(clock, ...at(event), event));
  canvas.addEventListener("pointerleave", () => {
    page.tip.hidden = true;
    page.pointAtBar(plan, null);
  });
  canvas.addEventListener("pointerdown", (event) => {
    page.current = plan;
    dragClock(clock, event, at);
  });
}

function pointAtClock(clock, x, y, event) {
  const { page, plan } = clock;
  const bar = barAt(clock, x, y);
  const storage = bar ? null : storageAt(clock, x, y);
  showTip(page, event, bar ? barText(plan, bar) : storage ? storageText(plan, storage) : "");
  if (bar !== page.pointedBar) page.pointAtBar(plan, bar);
  if (!bar) page.pointAtLayers(plan, storage && storage.layer >= 0 ? [storage.layer] : []);
}

function dragClock(clock, down, at) {
  let [x, moved] = [down.clientX, 0];
  const move = (event) => {
    moved += Math.abs(event.clientX - x);
    panClock(clock, (x - event.clientX) / (clock.width - LABELS));
    clock.scroll.scrollTop -= event.movementY;
    x = event.clientX;
  };
  const up = (event) => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", up);
    if (moved < 4) pressClock(clock, ...at(event));
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", up);
}

function pressClock(clock, x, y) {
  const { page, plan } = clock;
  const bar = barAt(clock, x, y);
  const storage = bar ? null : storageAt(clock, x, y);
  if (x >= LABELS && y >= clock.memoryTop && plan.memory) setCursor(clock, timeAt(clock, x));
  if (bar) page.chooseBar(plan, bar);
  else if (storage && storage.layer >= 0) page.choose(plan, storage.layer, true);
  else page.choose(plan, null);
}

/** The time at which memory is listed. */
function setCursor(clock, time) {
  clock.cursor = Math.max(0, Math.min(time, clock.plan.clock.nanoseconds));
  showMemory(clock.page);
  drawClock(clock);
}

/** Choose the next or previous instruction of a lane; bring it into view. */
function stepBar(clock, by) {
  const { page, plan } = clock;
  const lane = clock.lanes.find(({ bars }) => bars.includes(page.chosenBar)) ?? clock.lanes[0];
  const at = lane.bars.indexOf(page.chosenBar);
  const bar = lane.bars[Math.max(0, Math.min(at + by, lane.bars.length - 1))];
  if (bar.start < clock.from || bar.end > clock.to) {
    const span = Math.max(clock.to - clock.from, bar.end - bar.start);
    const from = Math.max(0, Math.min((bar.start + bar.end - span) / 2, page.longestStep - span));
    showTimes(clock, from, from + span);
  }
  page.chooseBar(plan, bar);
}

function barText(plan, bar) {
  const layers = bar.layers.map((number) => plan.plan.layers[number].name);
  const shown = layers.length > 4 ? [...layers.slice(0, 3), `${layers.length - 3} more`] : layers;
  const lines = [`${bar.word.replaceAll("_", "-")} ${shown.join(", ")}`, `${bar.phase}${bar.round >= 0 ? `, round ${bar.round + 1}` : ""}, ${nanoseconds(bar.end - bar.start)}`];
  if (bar.exchanges.length) lines.push(`${bytes(mostSent(plan, bar.exchanges))} sent by a device`);
  if (bar.critical) lines.push("the step waits for it");
  return lines.join("\n");
}

function showTip(page, event, text) {
  page.tip.hidden = !text;
  page.tip.textContent = text;
  const { offsetWidth, offsetHeight } = page.tip;
  page.tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - offsetWidth - 8))}px`;
  page.tip.style.top = `${Math.max(4, event.clientY - offsetHeight - 12)}px`;
}

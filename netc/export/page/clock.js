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
  const canvas = el("canvas", {
    tabindex: "0",
    role: "img",
    "aria-label": `the step of ${plan.name} on the clock`,
  });
  const scroll = el("div", { class: "clock-scroll" }, canvas);
  const clock = {
    plan,
    page,
    canvas,
    scroll,
    from: 0,
    to: plan.clock.nanoseconds,
    class_: null,
    device: null,
    cursor: null,
  };
  clock.peaks = plan.storages.map((storages) => peakOf(storages));
  if (lanesOf(clock).length > FEW_LANES) clock.class_ = 0;
  clock.classes = classChoice(clock);
  const head = el(
    "div",
    { class: "clock-head" },
    page.plans.length > 1 && el("b", {}, plan.name),
    el("span", {}, stepText(plan)),
    clock.classes,
    deviceChoice(clock),
    button("\u2212", "zoom out", () => zoomClock(clock, 1 / 1.5)),
    button("+", "zoom in", () => zoomClock(clock, 1.5)),
    button("all", "the whole step", () => showTimes(clock, 0, page.longestStep)),
  );
  box.append(el("div", { class: "clock" }, head, scroll));
  listenToClock(clock);
  new ResizeObserver(() => drawClock(clock)).observe(scroll);
  return clock;
}

function stepText(plan) {
  const { nanoseconds: all, exposed } = plan.clock;
  const path = plan.bars.filter((bar) => bar.critical);
  const moving = path.filter((bar) => bar.moves).reduce((sum, bar) => sum + bar.end - bar.start, 0);
  const parts = `${percent(all - moving, all)} computation, ${percent(moving, all)} exchange`;
  const { measured } = plan.clock;
  const took = measured ? `, measured ${moment(measured.nanoseconds)} (step ${measured.step})` : "";
  return `step ${moment(all)}${took}; not computing ${moment(exposed)}; critical path: ${parts}`;
}

function classChoice(clock) {
  const { classes } = clock.plan.clock;
  if (classes.length < 2) return null;
  const options = [
    el("option", { value: "all" }, "all devices"),
    ...classes.map((own, i) =>
      el("option", { value: i, selected: clock.class_ === i }, devicesText(own.devices)),
    ),
  ];
  return el(
    "select",
    {
      "aria-label": "devices on the clock",
      onchange: (event) => {
        clock.class_ = event.target.value === "all" ? null : Number(event.target.value);
        clock.lanes = null;
        showMemory(clock.page);
        drawClock(clock);
      },
    },
    options,
  );
}

/** Which device is drawn as it was measured, in place of the first of its class. */
function deviceChoice(clock) {
  const { classes, measured } = clock.plan.clock;
  if (!measured || classes.every((own) => own.devices.length < 2)) return null;
  const devices = classes.flatMap((own) => own.devices).sort((a, b) => a - b);
  return el(
    "select",
    {
      "aria-label": "device as it was measured",
      onchange: (event) => {
        clock.device = Number(event.target.value);
        if (clock.class_ !== null) {
          clock.class_ = classes.findIndex((own) => own.devices.includes(clock.device));
          clock.classes.value = clock.class_;
          showMemory(clock.page);
        }
        clock.lanes = null;
        drawClock(clock);
      },
    },
    devices.map((device) => el("option", { value: device }, `measured: device ${device}`)),
  );
}

/** Whether a device is the one of its class that is drawn as it was measured. */
function isDrawn(clock, { device, class_ }) {
  const { devices } = clock.plan.clock.classes[class_];
  return device === (devices.includes(clock.device) ? clock.device : devices[0]);
}

/** Class and stream of every lane that is shown, measured ones behind the predicted ones. */
function lanesOf(clock) {
  const { plan } = clock;
  const found = new Map();
  for (const bar of [...plan.bars, ...plan.measured.filter((each) => isDrawn(clock, each))]) {
    if (clock.class_ !== null && bar.class_ !== clock.class_) continue;
    const measured = bar.device !== undefined;
    const key = bar.class_ * plan.legend.streams.length + bar.stream + (measured ? 0.5 : 0);
    const { class_, stream, device } = bar;
    if (!found.has(key)) found.set(key, { class_, stream, device, bars: [], key });
    found.get(key).bars.push(bar);
  }
  const lanes = [...found.values()].sort((a, b) => a.key - b.key);
  for (const lane of lanes) lane.bars.sort((a, b) => a.start - b.start || a.number - b.number);
  return lanes;
}

/** Draw everything; `scale` is the number of canvas pixels for one of the page. */
function drawClock(clock, scale = window.devicePixelRatio || 1) {
  const { canvas, scroll, plan } = clock;
  clock.lanes ??= lanesOf(clock);
  clock.width = Math.max(300, scroll.clientWidth);
  clock.memoryTop = AXIS + clock.lanes.length * LANE + 8;
  clock.height = clock.memoryTop + (plan.memory ? MEMORY + 6 : 0);
  Object.assign(canvas, { width: clock.width * scale, height: clock.height * scale });
  canvas.style.width = `${clock.width}px`;
  canvas.style.height = `${clock.height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  clock.colors = Object.fromEntries(
    [
      "ink",
      "faint",
      "line",
      "card",
      "forward",
      "backward",
      "update",
      "exchange",
      "accent",
      "ground",
      "persistent",
      "input",
      "temporary",
      "output",
    ].map((name) => [name, color(name)]),
  );
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
    pen.fillText(moment(time), Math.min(x, clock.width - 24), 12);
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
  pen.fillText(shortened(laneName(plan, lane), LABELS - 8, `11px ${FONT}`), 4, y + 14);
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

function laneName(plan, { class_, stream, device }) {
  const name = plan.legend.streams[stream];
  const { devices } = plan.clock.classes[class_];
  if (device !== undefined) return `${devices.length > 1 ? `${device} ` : ""}${name}, measured`;
  return plan.clock.classes.length > 1 ? `${devicesText(devices)} ${name}` : name;
}

/** Whether a bar is chosen or pointed at, or the same one as it was predicted or measured. */
function barStands({ plan, page }, bar) {
  for (const other of [page.chosenBar, page.pointedBar]) {
    if (other && (other === bar || other === bar.predicted || other.predicted === bar)) return true;
  }
  if (bar.exchanges.some((number) => page.pointedExchanges.has(plan.exchanges[number].name)))
    return true;
  return bar.layers.some((number) => {
    const { name } = plan.plan.layers[number];
    return page.pointed.has(name) || page.chosen === name;
  });
}

function drawBar(clock, pen, bar, x, y, width) {
  const { page, colors, plan } = clock;
  const stands = barStands(clock, bar);
  const hidden =
    !page.shows.phases.has(bar.phase) ||
    (page.shows.round !== null && bar.round >= 0 && bar.round !== page.shows.round);
  pen.globalAlpha = hidden ? 0.12 : anythingStands(page) && !stands ? 0.5 : 1;
  pen.fillStyle = bar.moves ? colors.exchange : colors[bar.phase];
  pen.fillRect(x, y + 2, width > 3 ? width - 0.7 : width, LANE - 5);
  if (stands) {
    pen.strokeStyle = colors.ink;
    pen.lineWidth = page.chosenBar === bar ? 2.5 : 1.5;
    pen.strokeRect(x + 0.5, y + 2.5, Math.max(width - 1.5, 0.5), LANE - 6);
  }
  drawBarName(clock, pen, bar, Math.max(x, LABELS), y, x + width);
  pen.globalAlpha = 1;
}

/** The name of what a bar computes, or of how it exchanges, between two places. */
function drawBarName({ plan }, pen, bar, x, y, end) {
  const room = end - x - 8;
  if (room < 26) return;
  const name = bar.layers.length ? plan.plan.layers[bar.layers[0]].name : "";
  pen.fillStyle = bar.phase === "backward" && !bar.moves ? "#ffffff" : "#10151c";
  pen.font = `10px ${FONT}`;
  pen.textAlign = "left";
  const text = bar.moves ? `${wordOf(bar)} ${name}` : name;
  pen.fillText(lastPart(text, room, pen.font), x + 4, y + 13);
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
    const apart = x - drawnAt > 3; // Lines without room between them would hide the lanes.
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

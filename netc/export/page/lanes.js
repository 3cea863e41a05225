// Moving on the clock, pointing at instructions, and choosing them.

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
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (event.shiftKey) return;
      event.preventDefault();
      const side = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (side) panClock(clock, event.deltaX / 1000);
      else
        zoomClock(
          clock,
          Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)),
          timeAt(clock, Math.max(LABELS, at(event)[0])),
        );
    },
    { passive: false },
  );
  canvas.addEventListener(
    "pointermove",
    (event) => event.buttons || pointAtClock(clock, ...at(event), event),
  );
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
  const lines = [
    shown.join(", "),
    wordOf(bar),
    `${phaseText(bar)}, ${nanoseconds(bar.end - bar.start)}`,
  ];
  if (bar.exchanges.length) lines.push(`${bytes(mostSent(plan, bar.exchanges))} sent by a device`);
  if (bar.predicted)
    lines.push(`measured on device ${bar.device}; predicted: ${predictedText(bar)}`);
  if (bar.critical) lines.push("the step waits for it");
  return lines.join("\n");
}

/** What a measured instruction was predicted to take. */
function predictedText({ predicted }) {
  return nanoseconds(predicted.end - predicted.start);
}

/** What an instruction does: "conv + relu", "all-reduce". */
function wordOf({ moves, word }) {
  return moves ? word.replaceAll("_", "-") : word;
}

/** The phase of an instruction, and its round. */
function phaseText({ phase, round }) {
  return round >= 0 ? `${phase}, round ${round + 1}` : phase;
}

function showTip(page, event, text) {
  page.tip.hidden = !text;
  page.tip.textContent = text;
  const { offsetWidth, offsetHeight } = page.tip;
  const left = Math.min(event.clientX + 14, window.innerWidth - offsetWidth - 8);
  page.tip.style.left = `${Math.max(4, left)}px`;
  page.tip.style.top = `${Math.max(4, event.clientY - offsetHeight - 12)}px`;
}

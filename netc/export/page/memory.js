// Memory over the step: what has which bytes from when to when, and how much is in use.

/** The moment at which most bytes are in use, the earliest of several: {time, bytes}. */
function peakOf(storages) {
  let best = { time: 0, bytes: 0 };
  for (const point of usageOf(storages)) if (point.bytes > best.bytes) best = point;
  return best;
}

/** Bytes in use, from each time on that they change. */
function usageOf(storages) {
  const changes = new Map();
  const change = (time, by) => changes.set(time, (changes.get(time) ?? 0) + by);
  for (const { start, end, size } of storages) {
    change(start, size);
    change(end, -size);
  }
  let used = 0;
  return [...changes]
    .sort(([a], [b]) => a - b)
    .map(([time, by]) => ({ time, bytes: (used += by) }));
}

/** What is in use at a time, the largest first. */
function inUse(storages, time) {
  const found = storages.filter(({ start, end }) => start <= time && time < end);
  return found.sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
}

function memoryClass(clock) {
  return clock.class_ ?? 0;
}

function drawMemory(clock, pen) {
  const { plan, colors, memoryTop: top } = clock;
  const number = memoryClass(clock);
  const { bytes: whole } = plan.memory.classes[number];
  const scale = MEMORY / Math.max(whole, 1);
  pen.fillStyle = colors.faint;
  pen.font = `11px ${FONT}`;
  pen.textAlign = "left";
  const labels = ["memory", `${devicesText(plan.clock.classes[number].devices)}`, bytes(whole)];
  labels.forEach((text, i) => pen.fillText(text, 4, top + 12 + 14 * i));
  pen.save();
  pen.beginPath();
  pen.rect(LABELS, top, clock.width - LABELS - 6, MEMORY);
  pen.clip();
  pen.fillStyle = colors.ground;
  pen.fillRect(LABELS, top, clock.width, MEMORY);
  for (const storage of plan.storages[number]) drawStorage(clock, pen, storage, top, scale);
  drawUsage(clock, pen, plan.storages[number], top, scale);
  pen.restore();
  drawPeak(clock, pen, top);
}

function drawStorage(clock, pen, storage, top, scale) {
  const { colors, page, plan } = clock;
  if (storage.end < clock.from || storage.start > clock.to) return;
  const [x, end] = [xOf(clock, storage.start), xOf(clock, storage.end)];
  const height = storage.size * scale;
  const y = top + MEMORY - (storage.offset + storage.size) * scale;
  const name = storage.layer >= 0 ? plan.plan.layers[storage.layer].name : null;
  const stands = name !== null && (page.pointed.has(name) || page.chosen === name);
  pen.globalAlpha = anythingStands(page) && !stands ? 0.45 : 1;
  pen.fillStyle = stands ? colors.accent : colors[storage.kind];
  pen.fillRect(x, y, Math.max(end - x, 0.6), height);
  if (height > 2 && end - x > 3) {
    pen.strokeStyle = colors.card;
    pen.lineWidth = 0.5;
    pen.strokeRect(x, y, end - x, height);
  }
  pen.globalAlpha = 1;
}

/** The sum of what is in use, as a line. */
function drawUsage(clock, pen, storages, top, scale) {
  pen.strokeStyle = clock.colors.ink;
  pen.lineWidth = 1.2;
  pen.beginPath();
  let y = top + MEMORY;
  for (const point of (storages.usage ??= usageOf(storages))) {
    const x = xOf(clock, point.time);
    pen.lineTo(x, y);
    y = top + MEMORY - point.bytes * scale;
    pen.lineTo(x, y);
  }
  pen.stroke();
}

function drawPeak(clock, pen, top) {
  const peak = clock.peaks[memoryClass(clock)];
  const x = Math.round(xOf(clock, peak.time)) + 0.5;
  if (x < LABELS || x > clock.width) return;
  pen.strokeStyle = clock.colors.ink;
  pen.setLineDash([3, 3]);
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x, top);
  pen.lineTo(x, top + MEMORY);
  pen.stroke();
  pen.setLineDash([]);
}

/** What has the bytes at a place of the canvas, or null. */
function storageAt(clock, x, y) {
  const { plan, memoryTop: top } = clock;
  if (!plan.memory || x < LABELS || y < top || y > top + MEMORY) return null;
  const number = memoryClass(clock);
  const time = timeAt(clock, x);
  const place = ((top + MEMORY - y) * plan.memory.classes[number].bytes) / MEMORY;
  return (
    plan.storages[number].find(
      ({ start, end, offset, size }) =>
        start <= time && time <= end && offset <= place && place < offset + size,
    ) ?? null
  );
}

function storageText(plan, storage) {
  const layer = storage.layer >= 0 ? ` of ${plan.plan.layers[storage.layer].name}` : "";
  const what = `${storage.kind}${layer}, ${bytes(storage.size)}`;
  return `${storage.name}\n${what}\nfrom ${moment(storage.start)} to ${moment(storage.end)}`;
}

/** The tab that lists what is in use at the cursor, or at the peak. */
function showMemory(page) {
  page.memoryTab.replaceChildren(...page.clocks.flatMap((clock) => memoryList(page, clock)));
}

function memoryList(page, clock) {
  const { plan } = clock;
  if (!plan.memory) return [];
  const number = memoryClass(clock);
  const peak = clock.peaks[number];
  const time = clock.cursor ?? peak.time;
  const found = inUse(plan.storages[number], time);
  const used = found.reduce((sum, { size }) => sum + size, 0);
  const where = clock.cursor === null ? "At the peak" : "At the cursor";
  const devices = devicesText(plan.clock.classes[number].devices);
  const arena = plan.memory.classes[number].bytes;
  const rows = found
    .slice(0, 60)
    .map((storage) => [
      storage.layer >= 0
        ? button(storage.name, "choose its layer", () => page.choose(plan, storage.layer, true))
        : storage.name,
      storage.kind,
      bytes(storage.size),
      percent(storage.size, used),
    ]);
  return [
    el("h2", {}, titled(page, plan, "Memory")),
    el(
      "p",
      {},
      `${where}, ${moment(time)} from the start, ${bytes(used)} are in use on ${devices}; `,
      `most are ${bytes(peak.bytes)}, in an arena of ${bytes(arena)}.`,
    ),
    kindTable(found, used),
    clock.cursor === null
      ? el("p", { class: "faint" }, "Press on the picture of memory to list another moment.")
      : button("at the peak", "list the peak", () => {
          clock.cursor = null;
          showMemory(page);
          drawClock(clock);
        }),
    table(["", "kind", "bytes", ""], rows),
    found.length > 60 &&
      el("p", { class: "faint" }, `and ${plural(found.length - 60, "smaller one")}`),
  ].filter(Boolean);
}

function kindTable(found, used) {
  const sums = new Map();
  for (const { kind, size } of found) sums.set(kind, (sums.get(kind) ?? 0) + size);
  const rows = [...sums]
    .sort((a, b) => b[1] - a[1])
    .map(([kind, size]) => [
      el("span", {}, el("span", { class: `swatch ${kind}` }), ` ${kind}`),
      bytes(size),
      percent(size, used),
    ]);
  return table(["", "bytes", ""], rows);
}

// The network's files; the line of the chosen layer is marked, and a click on a line chooses.

/** Fill the tab with the files of the page. */
function makeSource(page) {
  page.lines = page.data.sources.map(() => []);
  const layers = layersByLine(page);
  return page.data.sources.map((source, number) => {
    const body = el(
      "pre",
      { class: "source" },
      source.text
        .replace(/\n$/, "")
        .split("\n")
        .map((text, i) => {
          const line = el("code", {}, el("span", { class: "number" }, String(i + 1)), `${text}\n`);
          const own = layers.get(`${number} ${i + 1}`);
          if (own) makeChoice(page, line, own);
          page.lines[number].push(line);
          return line;
        }),
    );
    return el("div", {}, el("h3", {}, source.name), body);
  });
}

function layersByLine(page) {
  const found = new Map();
  const [plan] = page.plans;
  plan.layers.forEach(({ place }, number) => {
    if (!place) return;
    const key = place.join(" ");
    found.set(key, [...(found.get(key) ?? []), number]);
  });
  return found;
}

/** A line chooses its first layer, and the next one each time it is pressed again. */
function makeChoice(page, line, layers) {
  const [plan] = page.plans;
  const press = () => {
    const at = layers.findIndex((number) => plan.plan.layers[number].name === page.chosen);
    page.choose(plan, layers[(at + 1) % layers.length], true);
  };
  line.classList.add("written");
  line.tabIndex = 0;
  line.addEventListener("click", press);
  line.addEventListener("keydown", (event) => event.key === "Enter" && press());
  line.addEventListener("pointerenter", () => page.pointAt(plan, layers));
  line.addEventListener("pointerleave", () => page.pointAt(plan, []));
}

/** Mark where a layer is written, and the calls of blocks that led there. */
function markSource(page, plan, number) {
  for (const line of page.lines.flat()) line.classList.remove("here", "calls");
  const place = number === null ? null : plan.layers[number].place;
  if (!place) return;
  const line = page.lines[place[0]][place[1] - 1];
  line?.classList.add("here");
  for (const each of callsOf(page, plan.layers[number])) each.classList.add("calls");
  if (line && !page.sourceTab.hidden) line.scrollIntoView({ block: "center" });
}

/** The lines of calls: notes end in "called at 12:3", or "called at vgg16.net:12:3". */
function callsOf(page, { place, trail }) {
  let source = place[0];
  return trail.flatMap((note) => {
    const found = / called at (?:(.*):)?(\d+):\d+$/.exec(note);
    if (!found) return [];
    if (found[1]) source = page.data.sources.findIndex((each) => each.name === found[1]);
    return page.lines[source]?.[Number(found[2]) - 1] ?? [];
  });
}

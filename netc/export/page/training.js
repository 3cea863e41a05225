// The page of a training: charts that are read by pointing and by keys.

function start() {
  document.querySelectorAll(".chart").forEach(readChart);
  document.getElementById("theme").addEventListener("click", toggleTheme);
  window.addEventListener("keydown", (event) => {
    const other = event.ctrlKey || event.metaKey || event.altKey;
    if (event.key === "t" && !other) toggleTheme();
  });
  const { classList, dataset } = document.documentElement;
  window.addEventListener("beforeprint", () => classList.add("printing"));
  window.addEventListener("afterprint", () => classList.remove("printing"));
  dataset.ready = "yes";
}

/** Say what is pointed at, or comes next by a key; at first that is the last column. */
function readChart(figure) {
  const drawing = figure.querySelector("svg");
  const output = figure.querySelector("output");
  const columns = [...drawing.querySelectorAll(".column")];
  let at = columns.length - 1;
  const read = (place) => {
    columns[at].classList.remove("read");
    at = Math.max(0, Math.min(place, columns.length - 1));
    columns[at].classList.add("read");
    output.textContent = columns[at].querySelector("title").textContent;
  };
  drawing.addEventListener("pointermove", (event) => {
    const place = columns.indexOf(event.target.closest(".column"));
    if (place >= 0) read(place);
  });
  drawing.addEventListener("keydown", (event) => {
    const places = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      PageUp: at - 10,
      PageDown: at + 10,
      Home: 0,
      End: columns.length - 1,
    };
    if (!(event.key in places) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    read(places[event.key]);
  });
}

// Elements. Text always becomes a text node, so no name is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; properties that start with "on" are listeners. */
function el(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

/** An SVG element. */
function svg(name, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, name), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false));
  return element;
}

/** A table; cells are texts or elements, rows may be elements. */
function table(header, rows, className = "") {
  const head = el(
    "tr",
    {},
    header.map((text) => el("th", { scope: "col" }, text)),
  );
  const body = rows.map((row) =>
    row instanceof Element
      ? row
      : el(
          "tr",
          {},
          row.map((cell) => el("td", {}, cell)),
        ),
  );
  return el("table", { class: className }, el("thead", {}, head), el("tbody", {}, body));
}

/** A button of the page. */
function button(text, title, pressed) {
  return el("button", { type: "button", title, onclick: pressed }, text);
}

/** A colour of the style sheet. */
function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const textMeter = document.createElement("canvas").getContext("2d");
const textWidths = new Map();

/** How long a text is in pixels. */
function textWidth(text, font) {
  const key = `${font}\n${text}`;
  let width = textWidths.get(key);
  if (width === undefined) {
    textMeter.font = font;
    width = textMeter.measureText(text).width;
    textWidths.set(key, width);
  }
  return width;
}

/** A text, cut with dots at its end where it is longer than `limit` pixels. */
function shortened(text, limit, font) {
  if (textWidth(text, font) <= limit) return text;
  let end = text.length;
  while (end > 0 && textWidth(`${text.slice(0, end)}\u2026`, font) > limit) end -= 1;
  return `${text.slice(0, end)}\u2026`;
}

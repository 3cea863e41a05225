// Numbers in a few words, as netc/export/words.py has them.

const PREFIXES = ["", "k", "M", "G", "T"];

/** A number with four digits and a decimal prefix: "1.792 k", "14.16 MB". */
function amount(value, unit = "") {
  let scale = 0;
  while (value >= 999.95 && scale < 4) {
    value /= 1000;
    scale += 1;
  }
  return `${digits(value, 4)} ${PREFIXES[scale]}${unit}`.trim();
}

/** Bytes, such as "14.16 MB"; "-" for none. */
function bytes(value) {
  return value ? amount(value, "B") : "-";
}

/** A time with three digits: "41.2 ms". */
function duration(seconds) {
  if (!seconds) return "-";
  if (seconds >= 1) return `${digits(seconds, 3)} s`;
  return seconds >= 1e-3 ? `${digits(seconds * 1e3, 3)} ms` : `${digits(seconds * 1e6, 3)} us`;
}

/** A time that is counted in nanoseconds. */
function nanoseconds(value) {
  return duration(value / 1e9);
}

/** A moment of the step, in nanoseconds from its start. */
function moment(value) {
  return value ? nanoseconds(value) : "0";
}

function digits(value, count) {
  return String(Number(value.toPrecision(count)));
}

/** A part of a whole: "12 %". */
function percent(part, whole) {
  return whole ? `${Math.round((100 * part) / whole)} %` : "-";
}

/** A count with its noun: "1 device", "4 devices". */
function plural(count, word) {
  return `${count.toLocaleString("en-US")} ${word}${count === 1 ? "" : "s"}`;
}

/** Extents as network files write them: "64x224x224". */
function shapeText(shape) {
  return shape.length ? shape.join("x") : "one number";
}

/** The name of a split's letter in the style sheet, which knows no "@". */
function splitName(label) {
  return label[0] === "@" ? "one" : label[0];
}

/** Devices by their numbers: "device 0", "devices 0-3". */
function devicesText(devices) {
  const last = devices[devices.length - 1];
  if (devices.length === 1) return `device ${devices[0]}`;
  const row = last - devices[0] === devices.length - 1;
  return `devices ${row ? `${devices[0]}-${last}` : devices.join(", ")}`;
}

// Values as people read them: scaled units, shares with one decimal, signed differences.

const TIME = [[1, "ns"], [1e3, "µs"], [1e6, "ms"], [1e9, "s"], [60e9, "min"], [3600e9, "h"]];
const BYTES = [[1, "B"], [2 ** 10, "KiB"], [2 ** 20, "MiB"], [2 ** 30, "GiB"], [2 ** 40, "TiB"], [2 ** 50, "PiB"]];
const COUNT = [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"], [1e12, "T"]];

// The scale of a unit, and how many of the scale's smallest step one unit is.
const UNITS = {
  nanoseconds: [TIME, 1], microseconds: [TIME, 1e3], milliseconds: [TIME, 1e6], seconds: [TIME, 1e9],
  bytes: [BYTES, 1], kilobytes: [BYTES, 2 ** 10], megabytes: [BYTES, 2 ** 20],
};

function makeFormat(unit) {
  const [scale, factor] = Object.hasOwn(UNITS, unit) ? UNITS[unit] : [COUNT, 1];
  const suffix = scale === COUNT && unit !== "count" ? unit : "";
  const exactNumber = new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 });
  const value = (number) => {
    const size = Math.abs(number) * factor;
    let [step, symbol] = scale[0];
    // A little early, so that 999.96 becomes the next unit and not "1000".
    for (const [bigger, name] of scale) if (size >= bigger * 0.9995) [step, symbol] = [bigger, name];
    const scaled = size / step;
    const digits = scaled < 9.995 ? (scale === COUNT ? 1 : 2) : scaled < 99.95 ? 1 : 0;
    const text = step === 1 && Number.isInteger(scaled) ? String(scaled) : scaled.toFixed(digits);
    return (number < 0 ? "−" : "") + [text, symbol, suffix].filter(Boolean).join("\u00a0");
  };
  return {
    value,
    exact: (number) => `${exactNumber.format(number).replace("-", "−")} ${unit}`.trim(),
    delta: (number) => (number > 0 ? "+" : "") + value(number),
  };
}

/** With one decimal and a proper minus; nothing is "−0.0". */
function oneDecimal(number) {
  return number.toFixed(1).replace(/^-0\.0$/, "0.0").replace("-", "−");
}

function signed(number) {
  const text = oneDecimal(number);
  return number > 0 && text !== "0.0" ? `+${text}` : text;
}

function formatShare(part, whole) {
  return whole ? `${oneDecimal((100 * part) / whole)}%` : "–";
}

/** How far `after` is from `before`: percent of `before`, or how many times it when that is plainer. */
function formatChange(before, after) {
  if (!before) return after ? "new" : "–";
  if (after / before >= 10) return `×${(after / before).toFixed(0)}`;
  return `${signed((100 * (after - before)) / Math.abs(before))}%`;
}

const LONGEST_SHOWN = 2000;

/** A name as text to show; hostile profiles have names that are empty or thousands of characters long. */
function shownName(name) {
  if (!name) return "(no name)";
  return name.length > LONGEST_SHOWN ? `${name.slice(0, LONGEST_SHOWN)}…` : name;
}

/** A name's path and what comes after its last slash, which says more: ["net/http/", "httputil.Dump"]. */
function splitName(name) {
  const text = shownName(name);
  const cut = text.lastIndexOf("/") + 1;
  return cut === text.length || text[cut] === "(" ? ["", text] : [text.slice(0, cut), text.slice(cut)];
}

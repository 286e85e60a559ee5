// Colours of bars: by package or warm for one profile; grown against shrunk for a diff.

const SINGLE_PALETTES = { package: "By package", warm: "Warm", blind: "Blue to yellow" };
const DIFF_PALETTES = { redblue: "Red / blue", blind: "Orange / purple" };

// Hue and saturation of what grew and of what shrank.
const DIFF_HUES = { redblue: [[4, 78], [213, 72]], blind: [[33, 92], [272, 48]] };
const DIFF_STEPS = 20;

/** 32 bits of FNV-1a over the start of a text. */
function hashText(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length && i < LONGEST_SHOWN; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** What a function belongs to, by the habits of Go, Java, Python, C++, Rust and Node names. */
function packageOf(name) {
  const text = name.slice(0, 300);
  const scope = text.indexOf("::");
  if (scope > 0) return text.slice(0, scope);
  const slash = text.search(/\/[^/]*$/);
  const dot = text.indexOf(".", slash + 1);
  return dot > 0 ? text.slice(0, dot) : slash > 0 ? text.slice(0, slash) : "";
}

/** The fill of each name number. */
function nameColours(names, palette, dark) {
  return names.map((name) => {
    const own = hashText(name);
    const group = hashText(packageOf(name));
    const spread = (own % 7) - 3;
    if (palette === "warm") return hsl(8 + (own % 46), dark ? 52 : 86, (dark ? 33 : 68) + spread);
    if (palette === "blind") {
      const at = (group % 1000) / 999;
      // Through blue, grey and yellow: distinct for every kind of colour vision, by lightness too.
      return hsl(at < 0.5 ? 212 : 46, 20 + Math.abs(at - 0.5) * 110, (dark ? 26 : 64) + at * 16 + spread / 2);
    }
    return hsl(group % 360, dark ? 34 : 58, (dark ? 34 : 76) + spread);
  });
}

/** Fills from all gone (-DIFF_STEPS) over unchanged (0) to all new (DIFF_STEPS), at an offset of DIFF_STEPS. */
function diffColours(palette, dark) {
  const [grown, shrunk] = DIFF_HUES[palette];
  return Array.from({ length: 2 * DIFF_STEPS + 1 }, (_, i) => {
    const change = i / DIFF_STEPS - 1;
    const [hue, saturation] = change > 0 ? grown : shrunk;
    const strength = Math.abs(change) ** 0.7;
    return hsl(hue, saturation * Math.min(1, strength * 1.6), dark ? 27 + 17 * strength : 88 - 24 * strength);
  });
}

/** The place of a change from `before` to `after` among `diffColours`. */
function diffStep(before, after) {
  const larger = Math.max(Math.abs(before), Math.abs(after));
  return Math.round((larger ? (after - before) / larger : 0) * DIFF_STEPS + DIFF_STEPS);
}

function hsl(hue, saturation, lightness) {
  return `hsl(${hue.toFixed(0)} ${saturation.toFixed(0)}% ${lightness.toFixed(1)}%)`;
}

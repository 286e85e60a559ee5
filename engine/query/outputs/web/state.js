// What a link keeps: the view's state as the page's hash. Zoom and function are hashes of names, so that a link fits
// a page made again from newer data.

const DEFAULTS = {
  search: "", matchCase: false, picked: "", zoom: "", view: "both", direction: "icicle", inverted: false,
  compare: "value", palette: "", sort: "", theme: "",
};
const HASH_KEYS = {
  search: "q", matchCase: "case", picked: "f", zoom: "z", view: "view", direction: "dir", inverted: "inv",
  compare: "cmp", palette: "pal", sort: "sort", theme: "theme",
};
const CHOICES = {
  view: ["both", "graph", "table"], direction: ["icicle", "flame"], compare: ["value", "share"],
  theme: ["", "light", "dark"],
};

function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  const state = { ...DEFAULTS };
  for (const [key, short] of Object.entries(HASH_KEYS)) {
    const value = given.get(short);
    if (value === null) continue;
    if (typeof DEFAULTS[key] === "boolean") state[key] = value === "1";
    else if (!CHOICES[key] || CHOICES[key].includes(value)) state[key] = value;
  }
  return state;
}

/** Put the state into the address; a step that "back" should undo gets its own entry of the history. */
function writeState(state, isStep) {
  const kept = new URLSearchParams();
  for (const [key, short] of Object.entries(HASH_KEYS)) {
    if (state[key] !== DEFAULTS[key]) kept.set(short, state[key] === true ? "1" : state[key]);
  }
  const hash = `#${kept}`;
  if (hash === (location.hash || "#")) return;
  try {
    history[isStep ? "pushState" : "replaceState"](null, "", hash);
  } catch {
    // Frames without an address of their own (a notebook's) have no history to write.
  }
}

/** The way to a bar as hashes of names, root left out. */
function encodePath(tree, names, node) {
  return pathTo(tree, node).slice(1).map((i) => hashText(names[tree.name[i]]).toString(36)).join(".");
}

/** The bar at the end of an encoded way, as far as the tree has it. */
function decodePath(tree, names, encoded) {
  let node = 0;
  for (const step of encoded ? encoded.split(".") : []) {
    const child = findChild(tree, node, (i) => hashText(names[tree.name[i]]).toString(36) === step);
    if (child < 0) break;
    node = child;
  }
  return node;
}

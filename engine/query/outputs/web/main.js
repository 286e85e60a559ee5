// The page: reads the data in it, wires graph, table, search, keys and address together.

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("data").textContent);
const names = page.names;
const isDiff = page.self.length === 2;
const format = makeFormat(page.unit);
const straightTree = makeTree(page.depth, page.name, page.self);
const totals = functionTotals(straightTree, names.length);
const allTotals = straightTree.total.map((total) => total[0]);
const palettes = isDiff ? DIFF_PALETTES : SINGLE_PALETTES;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

let state = readState();
let invertedTree = null;
let tree = straightTree;
let found = null;
const details = new Details(byId("tip"), byId("live"), format, names);
const graph = new FlameGraph(byId("graph"), byId("graph-rows"), byId("canvas"), {
  zoom: (node) => zoomTo(node),
  hover: (node, event) => (node < 0 ? details.hideTip() : showTip(node, event.clientX, event.clientY)),
  focus: (node) => focusBar(node),
});
const table = new FunctionTable(byId("table"), {
  pick: (name) => pick(name),
  sort: (sort) => update({ sort }),
});

/** Change the state, show it, and put it into the address. */
function update(change, isStep = false) {
  const before = state;
  state = { ...state, ...change };
  writeState(state, isStep);
  show(before);
}

/** Bring the page in line with the state; `before` is what it shows now, or null. */
function show(before) {
  const changed = (...keys) => !before || keys.some((key) => before[key] !== state[key]);
  const turned = changed("inverted");
  showControls();
  if (turned) {
    tree = state.inverted ? (invertedTree ??= invertTree(straightTree)) : straightTree;
    graph.show(tree, names);
  }
  if (turned || changed("palette", "theme", "compare")) showColours();
  if (changed("direction")) graph.setDirection(state.direction === "flame");
  if (turned || changed("zoom")) showZoom();
  if (changed("search", "matchCase", "picked")) showMarks();
  if (changed("search", "matchCase", "sort", "compare")) showRows();
  if (changed("view")) graph.resize();
}

function showControls() {
  for (const id of ["view", "direction"]) {
    for (const button of byId(id).children) {
      const checked = button.value === state[id];
      button.setAttribute("aria-checked", String(checked));
      button.tabIndex = checked ? 0 : -1;
    }
  }
  byId("main").dataset.view = state.view;
  byId("invert").setAttribute("aria-pressed", String(state.inverted));
  byId("case").setAttribute("aria-pressed", String(state.matchCase));
  byId("compare").value = state.compare;
  byId("palette").value = paletteName();
  if (byId("search").value !== state.search) byId("search").value = state.search;
}

function paletteName() {
  return Object.hasOwn(palettes, state.palette) ? state.palette : Object.keys(palettes)[0];
}

function isDark() {
  return state.theme ? state.theme === "dark" : prefersDark.matches;
}

function showColours() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  graph.theme = {
    ink: colour("--bar-ink"), dim: colour("--dim"), dimInk: colour("--dim-ink"), root: colour("--root"),
    above: colour("--above"), aboveInk: colour("--above-ink"), hover: colour("--ink"), focus: colour("--accent"),
    // In a diff the colours of matches say what changed, so they stay.
    match: isDiff ? "" : colour("--match"),
  };
  graph.fill = isDiff ? diffFill() : singleFill();
  graph.redraw();
}

function singleFill() {
  const colours = nameColours(names, paletteName(), isDark());
  return (node) => colours[tree.name[node]];
}

function diffFill() {
  const colours = diffColours(paletteName(), isDark());
  const [left, right] = scales();
  showLegend(colours);
  return (node) => colours[diffStep(tree.total[0][node] * left, tree.total[1][node] * right)];
}

/** What each side is multiplied by to be compared: 1, or to shares of its total. */
function scales() {
  return state.compare === "share" ? allTotals.map((total) => (total ? 1 / total : 0)) : allTotals.map(() => 1);
}

function showLegend(colours) {
  const swatches = [0, 0.25, 0.5, 0.75, 1].map((at) => {
    const swatch = document.createElement("i");
    swatch.style.background = colours[Math.round(at * (colours.length - 1))];
    return swatch;
  });
  byId("legend").replaceChildren("gone", ...swatches, "new");
  byId("legend").hidden = false;
}

function showZoom() {
  graph.setZoom(decodePath(tree, names, state.zoom));
  details.hideTip();
  const path = pathTo(tree, graph.zoom);
  const shown = path.length > 6 ? [path[0], -1, ...path.slice(-4)] : path;
  byId("crumbs").replaceChildren(...shown.map((node) => crumb(node)));
}

function crumb(node) {
  const item = document.createElement("li");
  if (node < 0) {
    item.textContent = "…";
    return item;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.title = shownName(names[tree.name[node]]);
  button.textContent = splitName(names[tree.name[node]])[1].slice(0, 120);
  button.addEventListener("click", () => zoomTo(node));
  if (node === graph.zoom) {
    button.setAttribute("aria-current", "true");
    const share = formatShare(tree.width[node], tree.width[0]);
    item.append(button, Object.assign(document.createElement("span"), { className: "note", textContent: share }));
  } else {
    item.append(button);
  }
  return item;
}

/** Which name numbers the search finds; null without one. Throws `SyntaxError`. */
function searchMarks() {
  if (!state.search) return null;
  const pattern = new RegExp(state.search, state.matchCase ? "" : "i");
  return Uint8Array.from(names, (name) => (pattern.test(name) ? 1 : 0));
}

/** Highlight the picked function, else what the search finds. */
function showMarks() {
  let problem = "";
  found = null;
  try {
    found = searchMarks();
  } catch (error) {
    problem = "Not a regular expression";
    byId("matched").title = error.message;
  }
  const picked = state.picked ? totals.names.find((name) => hashText(names[name]).toString(36) === state.picked) ?? -1 : -1;
  graph.marks = picked < 0 ? found : Uint8Array.from(names, (_, name) => (name === picked ? 1 : 0));
  graph.redraw();
  table.setPicked(picked);
  byId("search").setAttribute("aria-invalid", String(Boolean(problem)));
  byId("matched").classList.toggle("problem", Boolean(problem));
  byId("matched").textContent = problem || (graph.marks ? matchedText(graph.marks) : "");
}

function matchedText(marks) {
  const sums = markedTotals(straightTree, marks);
  const count = totals.names.reduce((sum, name) => sum + marks[name], 0);
  const shares = sums.map((sum, side) => formatShare(sum, allTotals[side]));
  const share = isDiff ? `left ${shares[0]}, right ${shares[1]}` : `${shares[0]} of total`;
  byId("matched").title = sums.map(format.exact).join(", ");
  return `${count} function${count === 1 ? "" : "s"}, ${share}`;
}

function showRows() {
  const listed = found ? totals.names.filter((name) => found[name]) : totals.names;
  table.list(listed, state.sort || defaultSort());
}

function defaultSort() {
  return isDiff ? "-delta" : "-self";
}

/** The table's columns; in a diff the two totals and their difference, in values or shares. */
function tableColumns() {
  const functionColumn = { key: "function", title: "Function", hint: "Sort by name" };
  if (!isDiff) {
    return [functionColumn, valueColumn("self", "Self", totals.self[0], 0), valueColumn("total", "Total", totals.total[0], 0)];
  }
  const [left, right] = totals.total;
  const change = (name) => right[name] * scales()[1] - left[name] * scales()[0];
  const largest = () => totals.names.reduce((most, name) => Math.max(most, Math.abs(change(name))), 0) || 1;
  return [
    functionColumn, valueColumn("left", "Left", left, 0), valueColumn("right", "Right", right, 1),
    {
      key: "delta", title: "Delta", hint: "Sort by difference: what grew first, or what shrank", value: change,
      text: (name) => (state.compare === "share" ? `${signed(100 * change(name))} pt` : format.delta(change(name))),
      note: (name) => formatChange(left[name] * scales()[0], right[name] * scales()[1]),
      share: (name) => Math.abs(change(name)) / largest(),
      tone: (name) => (change(name) > 0 ? "grew" : change(name) < 0 ? "shrank" : ""),
    },
  ];
}

function valueColumn(key, title, values, side) {
  return {
    key, title, hint: `Sort by ${title.toLowerCase()}`,
    value: (name) => values[name],
    text: (name) => format.value(values[name]),
    note: (name) => formatShare(values[name], allTotals[side]),
    share: (name) => (allTotals[side] ? values[name] / allTotals[side] : 0),
  };
}

function zoomTo(node) {
  graph.focus = node;
  update({ zoom: encodePath(tree, names, node) }, true);
}

/** Highlight one function, or none when it is picked already. */
function pick(name) {
  const key = hashText(names[name]).toString(36);
  update({ picked: state.picked === key ? "" : key });
}

function showTip(node, x, y) {
  details.showTip(details.facts(tree, node, graph.zoom, state.inverted), names[tree.name[node]], x, y);
}

function focusBar(node) {
  details.say(tree, node, graph.zoom, state.inverted);
  const box = graph.boxOf(node);
  const frame = byId("canvas").getBoundingClientRect();
  showTip(node, frame.left + box.x + Math.min(box.width / 2, 40), frame.top + box.y + ROW / 2);
}

/** Focus the next or previous highlighted bar that can be seen. */
function goToMatch(step) {
  if (!graph.marks) return;
  const { end } = tree;
  const last = end[graph.zoom] - 1, first = graph.zoom;
  let node = graph.focus < first || graph.focus > last ? first : graph.focus;
  for (let tried = first; tried <= last; tried++) {
    node += step;
    if (node > last) node = first;
    if (node < first) node = last;
    if (graph.marks[tree.name[node]] && tree.width[node]) {
      graph.setFocus(node);
      return;
    }
  }
}

async function copyName() {
  const inTable = document.activeElement === byId("table");
  const node = graph.hovered >= 0 ? graph.hovered : graph.focus;
  const name = names[inTable ? table.order[table.active] : tree.name[node]];
  try {
    await navigator.clipboard.writeText(name);
  } catch {
    copyBySelection(name);
  }
  toast(`Copied ${shownName(name).slice(0, 80)}`);
}

/** For browsers that give pages from files no clipboard. */
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  focused?.focus();
}

let toastTimer = 0;
function toast(text) {
  byId("toast").textContent = text;
  byId("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (byId("toast").hidden = true), 1800);
}

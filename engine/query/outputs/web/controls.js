// Mouse and keyboard: what each control and key does.

const GLOBAL_KEYS = {
  "/": () => (byId("search").focus(), byId("search").select()),
  "?": () => byId("help").showModal(),
  i: () => toggleInverted(),
  d: () => update({ direction: state.direction === "flame" ? "icicle" : "flame" }),
  t: () => update({ view: state.view === "both" ? "graph" : "both" }),
  1: () => update({ view: "both" }),
  2: () => update({ view: "graph" }),
  3: () => update({ view: "table" }),
  c: () => copyName(),
  l: () => update({ theme: isDark() ? "light" : "dark" }),
  n: () => goToMatch(1),
  p: () => goToMatch(-1),
  Escape: () => reset(),
};
const GRAPH_KEYS = {
  Enter: () => zoomTo(graph.focus),
  " ": () => zoomTo(graph.focus),
  Home: () => reset(),
  Backspace: () => zoomTo(Math.max(0, tree.parent[graph.zoom])),
};

/** Out of the zoom; without a zoom, out of search and highlight. */
function reset() {
  details.hideTip();
  if (state.zoom) zoomTo(0);
  else update({ search: "", picked: "" });
}

/** Turn the stacks round; bars of one tree are not in the other, so the zoom goes back to the root. */
function toggleInverted() {
  update({ inverted: !state.inverted, zoom: "" }, true);
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const { target, key } = event;
  if (target === byId("search")) return onSearchKey(event);
  if (target instanceof HTMLSelectElement && key !== "Escape") return;
  const onBars = target === byId("canvas") || target === document.body;
  if (onBars && key.startsWith("Arrow")) {
    byId("canvas").focus({ preventScroll: true });
    graph.move(key);
  } else if (onBars && Object.hasOwn(GRAPH_KEYS, key)) GRAPH_KEYS[key]();
  else if (key === "Backspace") GRAPH_KEYS.Backspace();
  else if (Object.hasOwn(GLOBAL_KEYS, key)) GLOBAL_KEYS[key]();
  else return;
  event.preventDefault();
}

function onSearchKey(event) {
  if (event.key === "Enter") goToMatch(event.shiftKey ? -1 : 1);
  else if (event.key === "Escape") {
    if (state.search) update({ search: "" });
    byId("canvas").focus({ preventScroll: true });
  } else return;
  event.preventDefault();
}

/** Arrow keys and clicks choose in a group of radio buttons. */
function wireGroup(id) {
  const group = byId(id);
  group.addEventListener("click", (event) => {
    if (event.target.value) update({ [id]: event.target.value });
  });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...group.children];
    const next = buttons[(buttons.indexOf(event.target) + step + buttons.length) % buttons.length];
    update({ [id]: next.value });
    next.focus();
  });
}

function wireControls() {
  wireGroup("view");
  wireGroup("direction");
  byId("search").addEventListener("input", (event) => update({ search: event.target.value, picked: "" }));
  byId("case").addEventListener("click", () => update({ matchCase: !state.matchCase }));
  byId("invert").addEventListener("click", toggleInverted);
  byId("palette").addEventListener("change", (event) => update({ palette: event.target.value }));
  byId("compare").addEventListener("change", (event) => update({ compare: event.target.value }));
  byId("theme").addEventListener("click", GLOBAL_KEYS.l);
  byId("help-open").addEventListener("click", GLOBAL_KEYS["?"]);
  byId("canvas").addEventListener("blur", () => details.hideTip());
  byId("graph").addEventListener("scroll", () => details.hideTip());
  document.addEventListener("keydown", onKey);
  prefersDark.addEventListener("change", showColours);
  for (const event of ["popstate", "hashchange"]) {
    addEventListener(event, () => {
      const before = state;
      state = readState();
      show(before);
    });
  }
}

function fillPage() {
  byId("title").textContent = page.title;
  byId("subtitle").textContent = page.subtitle;
  byId("total").textContent = isDiff
    ? `${format.value(allTotals[0])} → ${format.value(allTotals[1])} (${formatChange(...allTotals)})`
    : format.value(allTotals[0]);
  byId("total").title = allTotals.map(format.exact).join(" → ");
  byId("notes").textContent = page.notes.join(" · ");
  byId("canvas").setAttribute("aria-label", `Flame graph of ${page.title}: ${straightTree.size} bars; arrow keys move`);
  byId("empty").hidden = straightTree.width[0] !== 0;
  byId("compare").hidden = !isDiff;
  byId("main").dataset.sides = page.self.length;
  for (const [value, text] of Object.entries(palettes)) byId("palette").add(new Option(text, value));
  table.show(tableColumns(), names);
}

fillPage();
wireControls();
show(null);

// For the console and for programs that drive the page: the bars shown now, and the time of one drawing.
globalThis.flameGraph = {
  bars: () => Array.from({ length: tree.size }, (_, i) => ({
    path: pathTo(tree, i).slice(1).map((node) => names[tree.name[node]]),
    self: tree.self.map((own) => own[i]),
    total: tree.total.map((total) => total[i]),
    box: graph.inView(i) ? graph.boxOf(i) : null,
  })),
  drawMilliseconds: () => {
    const start = performance.now();
    graph.draw();
    return performance.now() - start;
  },
};

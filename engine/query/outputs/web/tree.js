// Call trees as parallel arrays in pre-order. A tree has one side, or two in a diff.

/**
 * The tree of depths, name numbers and self values (an array a side), all in pre-order.
 * `end[i]` is one past the last descendant of i. `x` and `width` lay bars out by the magnitude of self values, so
 * that negative ones have an area too; without those, width is the total.
 */
function makeTree(depth, name, self) {
  const size = depth.length;
  const tree = {
    size, name: Int32Array.from(name), depth: Int32Array.from(depth), self,
    parent: new Int32Array(size).fill(-1), end: new Int32Array(size),
    total: self.map((own) => Float64Array.from(own)),
    x: new Float64Array(size), width: new Float64Array(size), rows: [],
  };
  const open = [];
  for (let i = 0; i < size; i++) {
    open[depth[i]] = i;
    if (depth[i]) tree.parent[i] = open[depth[i] - 1];
    (tree.rows[depth[i]] ??= []).push(i);
    tree.end[i] = i + 1;
    for (const own of self) tree.width[i] += Math.abs(own[i]);
  }
  for (let i = size - 1; i > 0; i--) {
    const above = tree.parent[i];
    tree.end[above] = Math.max(tree.end[above], tree.end[i]);
    tree.width[above] += tree.width[i];
    for (const total of tree.total) total[above] += total[i];
  }
  layOut(tree);
  return tree;
}

/** Children lie side by side from the left edge of their parent; its own value is what they leave free. */
function layOut(tree) {
  const next = new Float64Array(tree.size);
  for (let i = 1; i < tree.size; i++) {
    const above = tree.parent[i];
    tree.x[i] = next[i] = next[above];
    next[above] += tree.width[i];
  }
}

/**
 * The same stacks from their leaves: below the root the functions that have self values, below them their callers.
 * Built a level at a time: each stack has a cursor that climbs, stacks under one bar with one caller share a bar.
 */
function invertTree(tree) {
  const sides = tree.self.length;
  const parent = [-1], name = [tree.name[0]], self = tree.self.map((own) => [own[0]]);
  let stacks = [];
  for (let i = 1; i < tree.size; i++) if (tree.self.some((own) => own[i])) stacks.push([i, i, 0]);
  while (stacks.length) {
    const seen = new Map();
    const climbing = [];
    for (const stack of stacks) {
      const [leaf, cursor, under] = stack;
      // Exact below 2^53: the product of the counts of bars and names stays far below.
      const key = under * 2 ** 26 + tree.name[cursor];
      let bar = seen.get(key);
      if (bar === undefined) {
        seen.set(key, (bar = parent.length));
        parent.push(under);
        name.push(tree.name[cursor]);
        for (let s = 0; s < sides; s++) self[s].push(0);
      }
      const above = tree.parent[cursor];
      if (above > 0) {
        stack[1] = above;
        stack[2] = bar;
        climbing.push(stack);
      } else {
        for (let s = 0; s < sides; s++) self[s][bar] += tree.self[s][leaf];
      }
    }
    stacks = climbing;
  }
  return preOrder(parent, name, self);
}

/** A tree whose nodes came parents first, in any order; siblings are put widest first. */
function preOrder(parent, name, self) {
  const weight = Float64Array.from(parent, (_, i) => self.reduce((sum, own) => sum + Math.abs(own[i]), 0));
  for (let i = parent.length - 1; i > 0; i--) weight[parent[i]] += weight[i];
  const children = parent.map(() => []);
  for (let i = 1; i < parent.length; i++) children[parent[i]].push(i);
  const order = [], depth = [], waiting = [[0, 0]];
  while (waiting.length) {
    const [node, level] = waiting.pop();
    order.push(node);
    depth.push(level);
    // The narrowest is pushed first, so the widest is taken first.
    children[node].sort((a, b) => weight[a] - weight[b]);
    for (const child of children[node]) waiting.push([child, level + 1]);
  }
  return makeTree(depth, order.map((i) => name[i]), self.map((own) => Float64Array.from(order, (i) => own[i])));
}

/** Self and total of each function and side; a function that calls itself is counted once a stack. */
function functionTotals(tree, nameCount) {
  const self = tree.self.map(() => new Float64Array(nameCount));
  const total = tree.self.map(() => new Float64Array(nameCount));
  const closes = new Int32Array(nameCount);
  const present = new Uint8Array(nameCount);
  for (let i = 1; i < tree.size; i++) {
    const name = tree.name[i];
    present[name] = 1;
    // `closes` is where the outermost bar of this name ends: a bar before that is inside it.
    const outermost = i >= closes[name];
    if (outermost) closes[name] = tree.end[i];
    for (let s = 0; s < self.length; s++) {
      self[s][name] += tree.self[s][i];
      if (outermost) total[s][name] += tree.total[s][i];
    }
  }
  return { self, total, names: [...present.keys()].filter((name) => present[name]) };
}

/** The value of all stacks with a marked function, each stack once, a number a side. */
function markedTotals(tree, marks) {
  const sums = tree.self.map(() => 0);
  for (let i = 1; i < tree.size; ) {
    if (!marks[tree.name[i]]) {
      i++;
      continue;
    }
    sums.forEach((_, s) => (sums[s] += tree.total[s][i]));
    i = tree.end[i];
  }
  return sums;
}

/** Bars from the root to a node. */
function pathTo(tree, node) {
  const path = [];
  for (let i = node; i >= 0; i = tree.parent[i]) path.unshift(i);
  return path;
}

/** The child of `node` that `accept` takes, or -1. */
function findChild(tree, node, accept) {
  for (let i = node + 1; i < tree.end[node]; i = tree.end[i]) if (accept(i)) return i;
  return -1;
}

/** The first place in a sorted array whose value is not below `value`. */
function lowerBound(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

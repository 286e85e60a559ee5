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
 * The same stacks from their leaves: below the root the functions that have self values, below them their callers,
 * the widest first. A bar's stacks are one segment of two arrays: the leaf, and the frame that comes next (0: none).
 */
function invertTree(tree) {
  const leaf = Int32Array.from(leavesOf(tree));
  const next = Int32Array.from(leaf);
  const slots = new Int32Array(tree.name.reduce((most, name) => Math.max(most, name), 0) + 1);
  const depth = [0], name = [tree.name[0]], self = tree.self.map((own) => [own[0]]);
  const waiting = splitByCaller(tree, { level: 0, from: 0, to: leaf.length }, leaf, next, slots);
  const end = (stack) => self.forEach((own, side) => (own[own.length - 1] += tree.self[side][stack]));
  const add = (bar, level) => {
    depth.push(level);
    name.push(bar);
    for (const own of self) own.push(0);
  };
  while (waiting.length) {
    const bar = waiting.pop();
    add(bar.name, bar.level);
    if (bar.to - bar.from === 1) {
      // One stack is one chain of callers: most of a large tree, and needs no segments.
      for (let up = next[bar.from], level = bar.level + 1; up; up = tree.parent[up]) add(tree.name[up], level++);
      end(leaf[bar.from]);
      continue;
    }
    for (let k = bar.from; k < bar.to; k++) if (!next[k]) end(leaf[k]);
    for (const caller of splitByCaller(tree, bar, leaf, next, slots)) waiting.push(caller);
  }
  return makeTree(depth, name, self.map((own) => Float64Array.from(own)));
}

function leavesOf(tree) {
  const leaves = [];
  for (let i = 1; i < tree.size; i++) if (tree.self.some((own) => own[i])) leaves.push(i);
  return leaves;
}

/**
 * The bars under a bar, the widest last, so that a stack of them gives it first. Its segment is put in the order of
 * the next frame's name, every stack one frame further.
 */
function splitByCaller(tree, bar, leaf, next, slots) {
  const found = [];
  for (let k = bar.from; k < bar.to; k++) {
    if (!next[k]) continue;
    const name = tree.name[next[k]];
    if (!slots[name]) slots[name] = found.push({ name, level: bar.level + 1, from: 0, to: 0, weight: 0, stacks: [] });
    const group = found[slots[name] - 1];
    group.stacks.push(leaf[k], tree.parent[next[k]]);
    for (const own of tree.self) group.weight += Math.abs(own[leaf[k]]);
  }
  let at = bar.from;
  for (const group of found) {
    slots[group.name] = 0;
    group.from = at;
    for (let k = 0; k < group.stacks.length; k += 2, at++) [leaf[at], next[at]] = [group.stacks[k], group.stacks[k + 1]];
    group.to = at;
    group.stacks = null;
  }
  return found.sort((a, b) => a.weight - b.weight);
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

// What is said about one bar, in the tip beside it and to screen readers; what is said about a total.

class Details {
  constructor(tip, live, format, names) {
    Object.assign(this, { tip, live, format, names });
  }

  /** Pairs of a label and a text about a bar of a tree at a zoom. */
  facts(tree, node, zoom, inverted) {
    const { format } = this;
    const both = (value) => `${format.value(value)} (${format.exact(value)})`;
    const shares = (side) => {
      const total = tree.total[side];
      const ofAll = `${formatShare(total[node], total[0])} of total`;
      return zoom > 0 ? `${ofAll}, ${formatShare(total[node], total[zoom])} of zoom` : ofAll;
    };
    if (tree.total.length === 1) {
      const facts = [["Total", both(tree.total[0][node])], ["Share", shares(0)]];
      // An inverted bar's self value is where its stacks begin, which is no function's own.
      return inverted ? facts : [["Self", both(tree.self[0][node])], ...facts];
    }
    const [left, right] = tree.total.map((total) => total[node]);
    const own = (side) => (inverted ? "" : `; self ${format.value(tree.self[side][node])}`);
    return [
      ["Left", `${both(left)}, ${shares(0)}${own(0)}`],
      ["Right", `${both(right)}, ${shares(1)}${own(1)}`],
      ["Delta", `${format.delta(right - left)} (${formatChange(left, right)})`],
      ["Delta of shares", this.points(tree, node)],
    ];
  }

  points(tree, node) {
    const [left, right] = tree.total.map((total) => (total[0] ? (100 * total[node]) / total[0] : 0));
    return `${signed(right - left)} points`;
  }

  say(tree, node, zoom, inverted) {
    const facts = this.facts(tree, node, zoom, inverted).map(([label, text]) => `${label}: ${text}`);
    this.live.textContent = [shownName(this.names[tree.name[node]]), ...facts].join(". ");
  }

  /** Put the tip beside a point of the window, inside the window. */
  showTip(facts, name, x, y) {
    const { tip } = this;
    const heading = document.createElement("b");
    heading.textContent = shownName(name);
    const list = document.createElement("dl");
    for (const [label, text] of facts) {
      const term = document.createElement("dt"), fact = document.createElement("dd");
      term.textContent = label;
      fact.textContent = text;
      list.append(term, fact);
    }
    tip.replaceChildren(heading, list);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const besides = x + 14 + width > innerWidth ? x - width - 10 : x + 14;
    const below = y + 18 + height > innerHeight ? y - height - 10 : y + 18;
    tip.style.left = `${Math.max(4, besides)}px`;
    tip.style.top = `${Math.max(4, below)}px`;
  }

  hideTip() {
    this.tip.hidden = true;
  }
}

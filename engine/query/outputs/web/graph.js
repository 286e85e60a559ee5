// The canvas: draws the rows and bars that can be seen, finds the bar under the mouse, moves between bars.

const ROW = 21;
const TEXT_GAP = 5;
const NARROWEST_TEXT = 26;
const FONT = '12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';

class FlameGraph {
  /** `events`: zoom(node), hover(node or -1, mouse event), focus(node). */
  constructor(scroller, rows, canvas, events) {
    Object.assign(this, { scroller, rowsElement: rows, canvas, events });
    this.context = canvas.getContext("2d");
    Object.assign(this, { tree: null, names: [], zoom: 0, focus: 0, hovered: -1, marks: null, rootBelow: false });
    this.pending = 0;
    scroller.addEventListener("scroll", () => this.redraw());
    canvas.addEventListener("mousemove", (event) => this.hover(this.hit(event), event));
    canvas.addEventListener("mouseleave", (event) => this.hover(-1, event));
    canvas.addEventListener("click", (event) => {
      const node = this.hit(event);
      if (node >= 0) events.zoom(node);
    });
    canvas.addEventListener("focus", () => this.redraw());
    canvas.addEventListener("blur", () => this.redraw());
    new ResizeObserver(() => this.resize()).observe(scroller);
  }

  /** Show a tree; `fill(node)` gives its colours. Zoom and focus go back to the root. */
  show(tree, names) {
    Object.assign(this, { tree, names, zoom: 0, focus: 0, hovered: -1 });
    this.resize();
  }

  setZoom(node) {
    this.zoom = node;
    if (!this.inView(this.focus)) this.focus = node;
    this.resize();
    this.reveal(node);
  }

  setDirection(rootBelow) {
    this.rootBelow = rootBelow;
    this.resize();
    this.reveal(this.zoom);
  }

  /** Whether a bar is drawn at the present zoom: inside it, or above it. */
  inView(node) {
    const { tree, zoom } = this;
    return (node >= zoom && node < tree.end[zoom]) || (node < zoom && tree.end[node] > zoom);
  }

  /** Fit the scrolled height to the deepest bar of the zoom. */
  resize() {
    const { tree, zoom, scroller } = this;
    if (!tree || !scroller.clientWidth) return;
    let deepest = 0;
    for (let i = zoom; i < tree.end[zoom]; i++) if (tree.depth[i] > deepest) deepest = tree.depth[i];
    this.rows = deepest + 1;
    this.contentHeight = Math.max(this.rows * ROW + 2, scroller.clientHeight);
    this.rowsElement.style.height = `${this.contentHeight}px`;
    this.redraw();
  }

  redraw() {
    this.pending ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.pending = 0;
    const { tree, scroller, canvas, context } = this;
    const width = scroller.clientWidth, height = scroller.clientHeight;
    if (!tree || !width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = FONT;
    context.textBaseline = "middle";
    this.letter = context.measureText("m").width;
    this.scale = tree.width[this.zoom] ? width / tree.width[this.zoom] : 0;
    const path = pathTo(tree, this.zoom);
    for (let depth = 0; depth < this.rows; depth++) {
      const y = this.yOf(depth);
      if (y > height || y + ROW < 0) continue;
      if (depth < path.length) this.drawBar(path[depth], 0, y, width);
      else this.drawRow(depth, y, width);
    }
    this.drawOutlines();
  }

  drawRow(depth, y, width) {
    const { tree, zoom, scale, marks } = this;
    const row = tree.rows[depth] ?? [];
    const origin = tree.x[zoom];
    let lastPixel = -1, lastMarked = false;
    for (let k = lowerBound(row, zoom); k < row.length && row[k] < tree.end[zoom]; k++) {
      const node = row[k];
      const x = (tree.x[node] - origin) * scale;
      const barWidth = tree.width[node] * scale;
      if (barWidth < 1) {
        // Of the bars that share a pixel one is drawn, a highlighted one if there is any.
        const pixel = Math.floor(x);
        const marked = marks !== null && marks[tree.name[node]] === 1;
        if (!barWidth || (pixel === lastPixel && (lastMarked || !marked))) continue;
        lastPixel = pixel;
        lastMarked = marked;
        this.context.fillStyle = this.fillOf(node);
        this.context.fillRect(pixel, y, 1, ROW - 1);
      } else {
        this.drawBar(node, x, y, Math.min(barWidth, width - x));
      }
    }
  }

  drawBar(node, x, y, width) {
    const { context, tree, theme } = this;
    context.fillStyle = this.fillOf(node);
    context.fillRect(x, y, width > 3 ? width - 1 : width, ROW - 1);
    if (width < NARROWEST_TEXT) return;
    const above = node < this.zoom && this.marks === null;
    const text = this.fitText(this.names[tree.name[node]], width - 2 * TEXT_GAP);
    context.fillStyle = this.dimmed(node) ? theme.dimInk : above ? theme.aboveInk : theme.ink;
    context.fillText(text, x + TEXT_GAP, y + ROW / 2);
  }

  fillOf(node) {
    if (this.dimmed(node)) return this.theme.dim;
    if (this.marks !== null && this.theme.match) return this.theme.match;
    if (node === 0) return this.theme.root;
    return node < this.zoom ? this.theme.above : this.fill(node);
  }

  dimmed(node) {
    return this.marks !== null && this.marks[this.tree.name[node]] !== 1;
  }

  /** As much of a name as fits: whole, else without its path, else cut. */
  fitText(name, width) {
    const room = Math.floor(width / this.letter);
    let text = shownName(name);
    if (text.length > room) text = splitName(name)[1];
    if (text.length > room) text = room > 2 ? `${text.slice(0, room - 1)}…` : "";
    // Letters of some scripts are wider than the font's.
    while (text.length > 1 && /[^\x20-\x7e…]/.test(text) && this.context.measureText(text).width > width) {
      text = `${text.slice(0, Math.min(text.length - 2, Math.floor(text.length * 0.8)))}…`;
    }
    return text;
  }

  drawOutlines() {
    const focused = document.activeElement === this.canvas;
    if (this.hovered >= 0) this.outline(this.hovered, this.theme.hover, 1.5);
    if (focused && this.inView(this.focus)) this.outline(this.focus, this.theme.focus, 2.5);
  }

  outline(node, colour, thickness) {
    const { x, y, width } = this.boxOf(node);
    this.context.strokeStyle = colour;
    this.context.lineWidth = thickness;
    const inset = thickness / 2;
    this.context.strokeRect(x + inset, y + inset, Math.max(width - 1 - thickness, 1), ROW - 1 - thickness);
  }

  /** Where a bar is drawn, in pixels of the canvas. */
  boxOf(node) {
    const { tree, zoom } = this;
    const y = this.yOf(tree.depth[node]);
    if (node <= zoom) return { x: 0, y, width: this.scroller.clientWidth, height: ROW };
    const scale = tree.width[zoom] ? this.scroller.clientWidth / tree.width[zoom] : 0;
    return { x: (tree.x[node] - tree.x[zoom]) * scale, y, width: tree.width[node] * scale, height: ROW };
  }

  yOf(depth) {
    const top = this.rootBelow ? this.contentHeight - 1 - (depth + 1) * ROW : depth * ROW + 1;
    return top - this.scroller.scrollTop;
  }

  hit(event) {
    const { tree, zoom } = this;
    if (!tree) return -1;
    const y = event.offsetY + this.scroller.scrollTop;
    const depth = Math.floor((this.rootBelow ? this.contentHeight - 1 - y : y - 1) / ROW);
    if (depth < 0 || depth >= this.rows) return -1;
    const path = pathTo(tree, zoom);
    if (depth < path.length) return path[depth];
    const at = tree.x[zoom] + (event.offsetX / this.scroller.clientWidth) * tree.width[zoom];
    const row = tree.rows[depth];
    let low = lowerBound(row, zoom), high = lowerBound(row, tree.end[zoom]);
    const end = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (tree.x[row[middle]] + tree.width[row[middle]] <= at) low = middle + 1;
      else high = middle;
    }
    return low < end && tree.x[row[low]] <= at ? row[low] : -1;
  }

  hover(node, event) {
    if (node !== this.hovered) {
      this.hovered = node;
      this.canvas.style.cursor = node >= 0 ? "pointer" : "default";
      this.redraw();
    }
    this.events.hover(node, event);
  }

  setFocus(node) {
    this.focus = node;
    this.reveal(node);
    this.redraw();
    this.events.focus(node);
  }

  /** Scroll so that a bar's row can be seen. */
  reveal(node) {
    const { scroller } = this;
    const y = this.yOf(this.tree.depth[node]);
    if (y < 0) scroller.scrollTop += y - ROW;
    else if (y + ROW > scroller.clientHeight) scroller.scrollTop += y + 2 * ROW - scroller.clientHeight;
  }

  /** Focus the bar one step towards an arrow key's side. */
  move(key) {
    const { tree, focus } = this;
    const toRoot = this.rootBelow ? "ArrowDown" : "ArrowUp";
    let next = -1;
    if (key === "ArrowLeft") next = this.beside(-1);
    else if (key === "ArrowRight") next = this.beside(1);
    else if (key === toRoot) next = tree.parent[focus];
    else next = this.childOf(focus);
    this.setFocus(next >= 0 ? next : focus);
  }

  /** Below a bar above the zoom: the way to the zoom; else the widest child. */
  childOf(node) {
    const { tree, zoom } = this;
    if (node < zoom) return findChild(tree, node, (child) => child <= zoom && tree.end[child] > zoom);
    let widest = -1;
    findChild(tree, node, (child) => {
      if (tree.width[child] > (widest < 0 ? 0 : tree.width[widest])) widest = child;
      return false;
    });
    return widest;
  }

  /** The next bar of the row that is wide enough to be seen. */
  beside(step) {
    const { tree, zoom, focus } = this;
    if (focus <= zoom) return -1;
    const row = tree.rows[tree.depth[focus]];
    const visible = tree.width[zoom] / (this.scroller.clientWidth || 1);
    for (let k = lowerBound(row, focus) + step; row[k] > zoom && row[k] < tree.end[zoom]; k += step) {
      if (tree.width[row[k]] >= visible) return row[k];
    }
    return -1;
  }
}

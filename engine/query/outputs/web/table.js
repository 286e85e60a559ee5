// The table of functions: sorted by a column, rows made only where they can be seen.

const TABLE_ROW = 27;

class FunctionTable {
  /** `events`: pick(name number), sort(column key, "-" in front for descending). */
  constructor(scroller, events) {
    Object.assign(this, { scroller, events, columns: [], names: [], order: [], active: 0, picked: -1, sort: "" });
    this.table = document.createElement("table");
    this.table.setAttribute("role", "presentation");
    this.head = this.table.createTHead();
    this.body = this.table.createTBody();
    scroller.append(this.table);
    scroller.addEventListener("scroll", () => this.render());
    scroller.addEventListener("keydown", (event) => this.onKey(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-place]");
      if (!row) return;
      this.active = Number(row.dataset.place);
      events.pick(this.order[this.active]);
    });
    new ResizeObserver(() => this.render()).observe(scroller);
  }

  /**
   * Columns: {key, title, hint, value(name), text(name), note(name), share(name), tone(name)}; without `value` it is
   * the function's own column. `names` maps name numbers to text.
   */
  show(columns, names) {
    Object.assign(this, { columns, names });
    const row = document.createElement("tr");
    row.setAttribute("role", "row");
    row.append(...columns.map((column) => this.headCell(column)));
    this.head.replaceChildren(row);
  }

  headCell(column) {
    const cell = document.createElement("th");
    cell.setAttribute("role", "columnheader");
    cell.className = column.value ? "number" : "function";
    cell.dataset.key = column.key;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.title;
    button.title = column.hint;
    button.addEventListener("click", () => {
      const first = column.value ? `-${column.key}` : column.key;
      const second = column.value ? column.key : `-${column.key}`;
      this.events.sort(this.sort === first ? second : first);
    });
    cell.append(button);
    return cell;
  }

  /** Show these functions (name numbers) in the order of a sort. */
  list(functions, sort) {
    this.sort = sort;
    const descending = sort.startsWith("-");
    const key = sort.replace("-", "");
    const column = this.columns.find((one) => one.key === key) ?? this.columns[1];
    const { names } = this;
    const byName = (a, b) => (names[a] < names[b] ? -1 : names[a] > names[b] ? 1 : 0);
    const compare = column.value ? (a, b) => column.value(a) - column.value(b) : byName;
    this.order = [...functions].sort((a, b) => (descending ? compare(b, a) : compare(a, b)) || byName(a, b));
    for (const cell of this.head.querySelectorAll("th")) {
      const sorted = cell.dataset.key === column.key;
      cell.setAttribute("aria-sort", sorted ? (descending ? "descending" : "ascending") : "none");
    }
    this.active = Math.min(this.active, Math.max(this.order.length - 1, 0));
    this.scroller.setAttribute("aria-rowcount", String(this.order.length + 1));
    this.render();
  }

  setPicked(name) {
    this.picked = name;
    this.render();
  }

  render() {
    const { scroller, order } = this;
    if (!scroller.clientHeight) return;
    const first = Math.max(0, Math.floor(scroller.scrollTop / TABLE_ROW) - 4);
    const last = Math.min(order.length, first + Math.ceil(scroller.clientHeight / TABLE_ROW) + 10);
    const rows = [this.spacer(first)];
    for (let place = first; place < last; place++) rows.push(this.row(place));
    rows.push(this.spacer(order.length - last));
    if (!order.length) rows.push(this.nothing());
    this.body.replaceChildren(...rows);
    if (order.length) scroller.setAttribute("aria-activedescendant", `row-${this.active}`);
    else scroller.removeAttribute("aria-activedescendant");
  }

  spacer(count) {
    const row = document.createElement("tr");
    row.setAttribute("aria-hidden", "true");
    row.className = "spacer";
    row.style.height = `${count * TABLE_ROW}px`;
    return row;
  }

  nothing() {
    const row = document.createElement("tr");
    const cell = row.insertCell();
    cell.colSpan = this.columns.length;
    cell.className = "nothing";
    cell.textContent = "No function matches.";
    return row;
  }

  row(place) {
    const name = this.order[place];
    const row = document.createElement("tr");
    row.id = `row-${place}`;
    row.dataset.place = String(place);
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", String(place + 2));
    row.setAttribute("aria-selected", String(name === this.picked));
    // Its outline is shown by the style while the table has the focus: rows made anew on focus would lose the click.
    if (place === this.active) row.classList.add("active");
    row.append(...this.columns.map((column) => this.cell(column, name)));
    return row;
  }

  cell(column, name) {
    const cell = document.createElement("td");
    cell.setAttribute("role", "gridcell");
    if (!column.value) {
      cell.className = "function";
      cell.title = shownName(this.names[name]);
      cell.append(this.functionName(name));
      return cell;
    }
    cell.className = `number ${column.tone?.(name) ?? ""}`;
    const note = document.createElement("span");
    note.className = "note";
    note.textContent = column.note(name);
    cell.append(column.text(name), note);
    cell.style.setProperty("--share-width", `${Math.min(100, Math.max(0, 100 * column.share(name))).toFixed(1)}%`);
    return cell;
  }

  /** Two parts, of which the path gives way first. */
  functionName(name) {
    const line = document.createElement("div");
    for (const part of splitName(this.names[name])) {
      const span = document.createElement("span");
      span.textContent = part.slice(0, 400);
      line.append(span);
    }
    return line;
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / TABLE_ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target !== this.scroller || !this.order.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) {
      this.active = Math.min(this.order.length - 1, Math.max(0, this.active + steps[event.key]));
      this.reveal();
    } else if (event.key === "Enter" || event.key === " ") {
      this.events.pick(this.order[this.active]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  reveal() {
    const { scroller } = this;
    const top = this.active * TABLE_ROW;
    const seen = scroller.clientHeight - this.head.offsetHeight;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + TABLE_ROW > scroller.scrollTop + seen) scroller.scrollTop = top + TABLE_ROW - seen;
    this.render();
  }
}

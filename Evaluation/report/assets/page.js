"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rowOf = new Map(data.rows.map((row) => [row.id, row]));
  const SVG = "http://www.w3.org/2000/svg";
  const charts = [];

  // ---- filters

  const form = document.getElementById("filters");
  const boxes = form ? [...form.querySelectorAll("input[type=checkbox]")] : [];
  let visible = new Set(rowOf.keys());

  function filter() {
    const kept = { task: null, method: null, size: null };
    for (const box of boxes) {
      if (!(box.name in kept)) continue;
      kept[box.name] ??= new Set();
      if (box.checked) kept[box.name].add(box.value);
    }
    const finishedOnly = boxes.some((box) => box.name === "finished" && box.checked);
    visible = new Set();
    for (const row of data.rows) {
      const fits = Object.entries(kept).every(([name, values]) => !values || values.has(row[name]));
      if (fits && (row.finished || !finishedOnly)) visible.add(row.id);
    }
    for (const element of document.querySelectorAll("[data-row]")) {
      element.hidden = !visible.has(element.dataset.row);
    }
    for (const section of document.querySelectorAll("section.task")) {
      section.hidden = !data.rows.some((row) => row.task === section.dataset.task && visible.has(row.id));
    }
    for (const part of document.querySelectorAll("[data-part]")) {
      part.hidden = !part.querySelector("[data-row]:not([hidden]), .film");
    }
    const shown = document.getElementById("shown");
    if (shown) {
      shown.textContent = visible.size
        ? `${visible.size} of ${data.rows.length} experiments shown`
        : "No experiments match these filters.";
    }
    charts.forEach((chart) => chart.draw());
  }

  if (form) {
    form.addEventListener("change", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("reset").addEventListener("click", () => {
      for (const box of boxes) box.checked = box.name !== "finished";
      filter();
    });
  }

  // ---- sorting

  const sorterOf = (table) => table.closest(".ranking").querySelector(".sorter");

  function sort(table, column, descending) {
    const key = (row) => {
      const cell = row.cells[column];
      if (cell.dataset.sort === undefined) return null;
      return cell.dataset.kind === "text" ? cell.dataset.sort : Number(cell.dataset.sort);
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null); // gaps are last
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return descending ? -order : order;
    });
    body.append(...rows);
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    sorterOf(table).querySelector("select").value = String(column);
  }

  for (const table of document.querySelectorAll("table.results")) {
    const heads = [...table.tHead.rows[0].cells];
    const begin = (column) => heads[column].dataset.first === "descending";
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        sort(table, column, now ? now === "ascending" : begin(column));
      });
    });
    const sorter = sorterOf(table);
    const select = sorter.querySelector("select");
    select.addEventListener("change", () => sort(table, Number(select.value), begin(Number(select.value))));
    sorter.querySelector("button").addEventListener("click", () => {
      const column = Number(select.value);
      sort(table, column, heads[column].getAttribute("aria-sort") !== "descending");
    });
  }

  // ---- curves

  function element(name, attributes, parent) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  }

  function niceTicks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
    return ticks;
  }

  function logTicks(low, high) {
    const ticks = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) {
      for (const m of [1, 2, 5]) if (m * 10 ** p >= low && m * 10 ** p <= high) ticks.push(m * 10 ** p);
    }
    return ticks.length > 7 ? ticks.filter((t) => Number.isInteger(Math.round(Math.log10(t) * 1e6) / 1e6)) : ticks;
  }

  function short(value) {
    const size = Math.abs(value);
    let text;
    if (size >= 1e6) text = `${+(value / 1e6).toPrecision(3)}M`;
    else if (size >= 1e4) text = `${+(value / 1e3).toPrecision(3)}k`;
    else text = String(+value.toPrecision(3));
    return text.replace("-", "\u2212");
  }

  /** The value of a polyline at x; null outside it. */
  function valueAt(xs, ys, x) {
    if (x < xs[0] || x > xs[xs.length - 1]) return null;
    let i = xs.findIndex((place) => place >= x);
    if (xs[i] === x || i === 0) return ys[i];
    return ys[i - 1] + ((ys[i] - ys[i - 1]) * (x - xs[i - 1])) / (xs[i] - xs[i - 1]);
  }

  class Chart {
    constructor(figure) {
      this.curves = data.tasks[figure.dataset.curves];
      this.svg = figure.querySelector(".chart");
      this.readout = figure.querySelector(".readout");
      this.metric = figure.querySelector("select[name=metric]");
      this.axis = figure.querySelector("select[name=axis]");
      this.at = null;
      for (const select of [this.metric, this.axis]) {
        select.addEventListener("change", () => this.draw());
      }
      this.svg.addEventListener("pointermove", (event) => this.point(event));
      this.svg.addEventListener("pointerdown", (event) => this.point(event));
      this.svg.addEventListener("pointerleave", () => this.leave());
      this.svg.addEventListener("blur", () => this.leave());
      this.svg.addEventListener("keydown", (event) => this.key(event));
      new ResizeObserver(() => this.draw()).observe(this.svg.parentElement);
    }

    draw() {
      const lines = this.curves.lines[this.metric.value]?.[this.axis.value] ?? {};
      this.lines = Object.entries(lines).filter(([id]) => visible.has(id));
      this.svg.replaceChildren();
      this.leave();
      this.width = this.svg.clientWidth;
      this.height = this.svg.clientHeight;
      if (!this.width) return;
      if (!this.lines.length) {
        const text = element("text", { x: this.width / 2, y: this.height / 2, "text-anchor": "middle" }, this.svg);
        text.textContent = "No values were logged.";
        return;
      }
      this.scale();
      this.drawAxes();
      for (const [id, line] of this.lines) this.drawLine(rowOf.get(id), line);
    }

    scale() {
      const metric = this.curves.metrics[this.metric.value];
      const parts = this.lines.flatMap(([, line]) => [...line.runs, ...(line.mean ? [line.mean] : [])]);
      const xs = parts.flatMap((part) => part.x);
      const ys = parts.flatMap((part) => part.y ?? [...part.low, ...part.high]).concat(metric.teacher);
      this.log = metric.log && Math.min(...ys) > 0;
      let [low, high] = [Math.min(...ys), Math.max(...ys)];
      if (metric.lowest !== null) low = Math.max(low, Math.min(metric.lowest, high - 0.1));
      const to = this.log ? Math.log10 : (v) => v;
      const from = this.log ? (v) => 10 ** v : (v) => v;
      const margin = (to(high) - to(low) || Math.abs(to(high)) || 1) * 0.05;
      [this.low, this.high] = [from(to(low) - margin), from(to(high) + margin)];
      [this.first, this.last] = [Math.min(...xs), Math.max(...xs)];
      if (this.first === this.last) {
        const around = Math.abs(this.first) * 0.1 || 1;
        [this.first, this.last] = [this.first - around, this.last + around];
      }
      const [left, right, top, bottom] = [52, 14, 10, 42];
      this.box = { left, top, right: this.width - right, bottom: this.height - bottom };
      const share = (v) => (to(v) - to(this.low)) / (to(this.high) - to(this.low));
      this.x = (v) => left + ((v - this.first) / (this.last - this.first)) * (this.box.right - left);
      this.y = (v) => this.box.bottom - share(Math.max(v, this.low)) * (this.box.bottom - top);
      this.stops = [...new Set(parts.flatMap((part) => part.x))].sort((a, b) => a - b);
    }

    drawAxes() {
      const { left, right, top, bottom } = this.box;
      const metric = this.curves.metrics[this.metric.value];
      const write = (text, attributes) => (element("text", attributes, this.svg).textContent = text);
      const ticks = this.log ? logTicks(this.low, this.high) : niceTicks(this.low, this.high, 6);
      for (const tick of ticks) {
        const y = this.y(tick);
        element("line", { class: "grid", x1: left, x2: right, y1: y, y2: y }, this.svg);
        write(short(tick), { x: left - 6, y: y + 4, "text-anchor": "end" });
      }
      for (const tick of niceTicks(this.first, this.last, Math.max(2, this.width / 110))) {
        write(short(tick), { x: this.x(tick), y: bottom + 17, "text-anchor": "middle" });
      }
      element("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }, this.svg);
      write(this.curves.axes[this.axis.value], { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" });
      for (const level of metric.teacher) {
        const y = this.y(level);
        element("line", { class: "teacher", x1: left, x2: right, y1: y, y2: y }, this.svg);
        write("teacher", { x: right, y: y - 5 < top + 8 ? y + 14 : y - 5, "text-anchor": "end" });
      }
    }

    drawLine(row, line) {
      const group = element("g", { class: `s${row.look % 7}` }, this.svg);
      const path = (xs, ys) => xs.map((x, i) => `${i ? "L" : "M"}${this.x(x).toFixed(1)} ${this.y(ys[i]).toFixed(1)}`).join("");
      const dash = `d${row.look % 5}`;
      const marks = (part, ys) => {
        const every = Math.max(1, Math.round(part.x.length / 8));
        part.x.forEach((x, i) => {
          if (i % every) return;
          const at = { x: this.x(x) - 5, y: this.y(ys[i]) - 5, width: 10, height: 10 };
          element("use", { href: `#m${row.look % 8}`, ...at }, group);
        });
      };
      if (line.mean) {
        const back = [...line.mean.x].reverse();
        const band = path(line.mean.x, line.mean.high) + path(back, [...line.mean.low].reverse()).replace("M", "L");
        element("path", { class: "band", d: `${band}Z` }, group);
        if (line.mean.x.length === 1) {
          element("path", { class: "mean", d: path([line.mean.x[0], line.mean.x[0]], [line.mean.low[0], line.mean.high[0]]) }, group);
        }
      }
      for (const run of line.runs) {
        const alone = !line.mean && !run.cut;
        element("path", { class: alone ? `alone ${dash}` : "thin", d: path(run.x, run.y) }, group);
        if (alone) marks(run, run.y);
        if (run.cut) {
          const [x, y] = [this.x(run.x.at(-1)), this.y(run.y.at(-1))];
          element("path", { class: "cross", d: `M${x - 4} ${y - 4}l8 8m0-8l-8 8` }, group);
        }
      }
      if (line.mean) {
        element("path", { class: `mean ${dash}`, d: path(line.mean.x, line.mean.mid) }, group);
        marks(line.mean, line.mean.mid);
      }
    }

    point(event) {
      if (!this.lines?.length || !this.stops) return;
      const x = event.clientX - this.svg.getBoundingClientRect().left;
      const near = (a, b) => (Math.abs(this.x(b) - x) < Math.abs(this.x(a) - x) ? b : a);
      this.show(this.stops.reduce(near));
    }

    key(event) {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") this.leave();
      if (!step || !this.lines?.length) return;
      event.preventDefault();
      const last = this.stops.length - 1;
      const now = this.at === null ? (step > 0 ? -1 : last + 1) : this.stops.indexOf(this.at);
      this.show(this.stops[Math.min(Math.max(now + step, 0), last)]);
    }

    show(at) {
      this.leave();
      this.at = at;
      const x = this.x(at);
      this.cursor = element("line", { class: "cursor", x1: x, x2: x, y1: this.box.top, y2: this.box.bottom }, this.svg);
      const found = [];
      for (const [id, line] of this.lines) {
        const part = line.mean ?? line.runs.find((run) => !run.cut) ?? line.runs[0];
        const value = valueAt(part.x, part.mid ?? part.y, at);
        if (value !== null) found.push([rowOf.get(id), value]);
      }
      found.sort((a, b) => b[1] - a[1]);
      const paragraph = (name, value, look) => {
        const p = document.createElement("p");
        const [left, right] = [document.createElement("span"), document.createElement("span")];
        if (look !== undefined) {
          const mark = document.createElement("i");
          mark.className = `s${look % 7}`;
          mark.textContent = "\u25a0";
          mark.setAttribute("aria-hidden", "true");
          left.append(mark);
        }
        left.append(name);
        right.textContent = value;
        p.append(left, right);
        return p;
      };
      const head = paragraph(this.curves.axes[this.axis.value], short(at));
      this.readout.replaceChildren(head, ...found.slice(0, 10).map(([row, value]) => paragraph(row.name, short(value), row.look)));
      this.readout.hidden = false;
      const room = this.svg.parentElement.clientWidth - this.readout.offsetWidth;
      const beside = x > this.width / 2 ? x - this.readout.offsetWidth - 12 : x + 12;
      this.readout.style.left = `${Math.max(0, Math.min(beside, room))}px`;
      this.readout.style.top = `${this.box.top}px`;
    }

    leave() {
      this.at = null;
      this.cursor?.remove();
      this.readout.hidden = true;
    }
  }

  for (const figure of document.querySelectorAll("figure[data-curves]")) charts.push(new Chart(figure));
  filter();

  // ---- links into closed details

  function open() {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  }
  addEventListener("hashchange", open);
  open();
})();

"use strict";
// The state of the page is in its named controls. The address holds those that differ from their
// defaults, so that a link shows the same view.
(() => {
  const $ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = Object.values(data).flatMap((section) => section.rows);
  const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star"];
  const DASHES = ["solid", "7px,4px", "7px,3px,2px,3px", "2px,3px", "11px,3px,2px,3px,2px,3px"];
  const MINUS = "\u2212";

  // ---- state

  const fields = {};
  for (const control of $("main [name]")) (fields[control.name] ??= []).push(control);
  const read = (name) => {
    const controls = fields[name] ?? [];
    if (controls[0]?.type !== "checkbox") return controls.map((control) => control.value);
    return controls.filter((control) => control.checked).map((control) => control.value);
  };
  const one = (name) => read(name)[0] ?? "";
  const defaults = Object.fromEntries(Object.keys(fields).map((name) => [name, read(name)]));
  const hidden = () => new Set(one("off").split(",").filter(Boolean));
  let visible = new Set();

  function put(name, values) {
    for (const control of fields[name] ?? []) {
      if (control.type === "checkbox") control.checked = values.includes(control.value);
      else control.value = values[0];
      if (control.selectedIndex < 0) control.value = defaults[name][0]; // of an older page
    }
  }

  function load() {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const name in fields) put(name, said.has(name) ? said.getAll(name) : defaults[name]);
    render();
    const details = one("run") && document.getElementById(one("run"));
    if (!details) return;
    details.open = true;
    details.scrollIntoView();
  }

  function change(name, ...values) {
    if (name) put(name, values);
    const said = new URLSearchParams();
    for (const key in fields) {
      const now = read(key);
      if (String(now) !== String(defaults[key])) (now.length ? now : [""]).forEach((value) => said.append(key, value));
    }
    history.replaceState(null, "", `#${said}`);
    render();
  }

  function render() {
    const fits = (row, name) => !fields[name] || read(name).includes(row[name]);
    const shown = rows.filter((row) => ["task", "teacher", "method", "size"].every((name) => fits(row, name)) && (row.finished || !one("finished")));
    visible = new Set(shown.map((row) => row.id));
    for (const element of $("[data-row]")) element.hidden = !visible.has(element.dataset.row);
    for (const section of $("section.task")) section.hidden = !data[section.dataset.section].rows.some((row) => visible.has(row.id));
    for (const part of $("[data-part]:not(.chart)")) part.hidden = !$("[data-row]:not([hidden]), .film", part).length;
    const off = hidden();
    for (const button of $("[data-toggle]")) button.setAttribute("aria-pressed", !off.has(button.dataset.toggle));
    document.getElementById("shown").textContent = shown.length
      ? `${shown.length} of ${rows.length} experiments shown`
      : "No experiments match these filters.";
    $("table.results").forEach(sort);
    $("figure.chart").forEach(draw);
  }

  document.addEventListener("input", (event) => {
    const figure = event.target.closest("figure.chart");
    if (!event.target.name) return;
    // Another figure or axis has another range.
    if (figure && !event.target.name.endsWith(".smooth")) put(zoomOf(figure), [""]);
    change();
  });
  document.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const name in fields) put(name, defaults[name]);
    change();
  });
  addEventListener("hashchange", load);

  // ---- tables

  const idOf = (element) => element.closest("section.task").dataset.section;
  const zoomOf = (figure) => `${idOf(figure)}.${figure.dataset.kind}.zoom`;

  function sort(table) {
    const [key, order] = one(`${idOf(table)}.sort`).split(" ");
    const heads = [...table.tHead.rows[0].cells];
    const column = heads.findIndex((head) => head.dataset.key === key);
    if (column < 0) return;
    const value = (row) => row.cells[column].dataset.kind ? row.cells[column].dataset.sort : Number(row.cells[column].dataset.sort ?? NaN);
    const sign = order === "descending" ? -1 : 1;
    const compare = (a, b) => typeof a === "string" ? sign * a.localeCompare(b) : isNaN(a) - isNaN(b) || sign * (a - b) || 0; // gaps last
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(value(a), value(b))));
    heads.forEach((head, i) => i === column ? head.setAttribute("aria-sort", order) : head.removeAttribute("aria-sort"));
  }

  // ---- plots

  const coarse = matchMedia("(pointer: coarse)").matches; // a finger scrolls the page; buttons zoom
  const light = document.querySelector(".light");
  let palette = document.documentElement;
  const css = (name) => getComputedStyle(palette).getPropertyValue(name).trim();
  const color = (row) => css(`--c${row.look % 7}`);
  const look = (row, extra) => ({
    legendgroup: row.id, name: row.name, mode: "lines+markers",
    line: { color: color(row), dash: DASHES[row.look % 5], width: 2.4 },
    marker: { color: color(row), symbol: SYMBOLS[row.look % 8], size: 7, maxdisplayed: 9 }, ...extra,
  });
  const silent = (row, extra) => ({ legendgroup: row.id, showlegend: false, hoverinfo: "skip", mode: "lines", ...extra });
  const band = (row, x, low, high) => silent(row, {
    x: [...x, ...[...x].reverse()], y: [...high, ...[...low].reverse()],
    fill: "toself", fillcolor: `${color(row)}26`, line: { width: 0 },
  });

  const FEW = 12; // experiments with intervals and single runs; more would hide each other

  /** The exponential moving average of TensorBoard, corrected for its start. */
  function smoothed(values, weight) {
    let sum = 0, norm = 0;
    return values.map((value) => (sum = weight * sum + (1 - weight) * value) / (norm = weight * norm + 1 - weight));
  }

  const DRAW = {
    curves(shown, section, option) {
      const { metrics, axes, lines } = section.curves;
      const metric = metrics[option("metric")];
      const ofRow = lines[option("metric")]?.[option("axis")] ?? {};
      const smooth = (values) => smoothed(values, Number(option("smooth")));
      const traces = [], table = [["experiment", "run", axes[option("axis")], metric?.title, "low", "high"]];
      const drawn = shown.filter((row) => ofRow[row.id]), few = drawn.length <= FEW;
      for (const row of drawn) {
        const { runs, mean } = ofRow[row.id];
        const alone = mean ? null : runs.find((run) => !run.cut) ?? runs[0];
        const thin = runs.filter((run) => run !== alone || run.cut);
        if (few) traces.push(silent(row, {
          x: thin.flatMap((run) => [...run.x, null]), y: thin.flatMap((run) => [...smooth(run.y), null]),
          line: { color: color(row), width: 1 }, opacity: 0.45,
        }));
        const cut = runs.filter((run) => run.cut);
        traces.push(silent(row, {
          x: cut.map((run) => run.x.at(-1)), y: cut.map((run) => smooth(run.y).at(-1)),
          mode: "markers", marker: { symbol: "x-thin", size: 9, line: { width: 2, color: color(row) } },
        }));
        if (mean) {
          const [mid, low, high] = [mean.mid, mean.low, mean.high].map(smooth);
          const arms = { array: high.map((v, i) => v - mid[i]), arrayminus: mid.map((v, i) => v - low[i]), symmetric: false };
          traces.push(...few ? [band(row, mean.x, low, high)] : [], look(row, { x: mean.x, y: mid, ...(mid.length === 1 && { error_y: arms }) }));
        } else traces.push(look(row, { x: alone.x, y: smooth(alone.y), ...(alone.cut && { mode: "lines", line: { color: color(row), width: 1 } }) }));
        mean?.x.forEach((x, i) => table.push([row.name, "mean", x, mean.mid[i], mean.low[i], mean.high[i]]));
        runs.forEach((run, n) => run.x.forEach((x, i) => table.push([row.name, run.cut ? `${n}, cut short` : n, x, run.y[i]])));
      }
      const xs = traces.flatMap((trace) => trace.x).filter((x) => x !== null);
      for (const level of traces.length ? metric.teacher : []) traces.push({
        x: [Math.min(...xs), Math.max(...xs)], y: [level, level], name: "teacher", mode: "lines", line: { color: css("--text"), dash: "dash", width: 1.3 },
      });
      const log = option("scale") ? option("scale") === "log" : metric?.log && traces.every((trace) => trace.y.every((y) => y === null || y > 0));
      return { traces, table, height: 440, layout: {
        xaxis: { title: { text: axes[option("axis")] }, type: option("logx") ? "log" : "linear" },
        yaxis: { title: { text: metric?.title }, type: log ? "log" : "linear", autorangeoptions: metric?.lowest == null || log ? {} : { clipmin: metric.lowest } },
      } };
    },

    scores(shown, section, option) {
      const key = option("metric"), title = section.scores[key];
      return forest(shown.filter((row) => row.values[key]).map((row) => [row, row.values[key]]), title?.label, title?.teacher);
    },

    improvement(shown, section, option) {
      const against = section.improvement[option("of")] ?? {}, name = section.rows.find((row) => row.id === option("of"))?.name;
      const made = forest(shown.filter((row) => against[row.id]).map((row) => [row, against[row.id]]), `P(${name} scores higher)`, 0.5);
      made.layout.xaxis.range = [-0.03, 1.03];
      return made;
    },

    profile(shown, section) {
      const { x, lines } = section.profile;
      const traces = [], table = [["experiment", section.measure, "share of runs above", "low", "high"]];
      const drawn = shown.filter((row) => lines?.[row.id]);
      for (const row of drawn) {
        const { mid, low, high } = lines[row.id];
        traces.push(...drawn.length <= FEW ? [band(row, x, low, high)] : [], look(row, { x, y: mid, mode: "lines" }));
        x.forEach((at, i) => table.push([row.name, at, mid[i], low[i], high[i]]));
      }
      const yaxis = { title: { text: "share of runs above" }, range: [-0.03, 1.03] };
      return { traces, table, height: 300, layout: { xaxis: { title: { text: section.measure } }, yaxis } };
    },
  };

  /** A point with its interval for each row, one below the other. */
  function forest(found, title, level) {
    const letters = innerWidth < 600 ? 18 : 30;
    const short = (name) => name.length > letters ? `${name.slice(0, letters - 1)}\u2026` : name;
    const traces = found.map(([row, [value, low, high]]) => look(row, {
      x: [value], y: [row.id], mode: "markers", marker: { color: color(row), symbol: SYMBOLS[row.look % 8], size: 10 },
      error_x: { array: [(high ?? value) - value], arrayminus: [value - (low ?? value)], symmetric: false, color: color(row), thickness: 2, width: 4, visible: low !== null },
      hovertemplate: `%{x:.4~g}${low === null ? "" : ` (${low} to ${high})`}; ${row.over || "1 run"}`.replaceAll("-", MINUS),
    }));
    const table = [["experiment", "over", title, "low", "high"], ...found.map(([row, ends]) => [row.name, row.over, ...ends])];
    const shapes = level == null ? [] : [{ type: "line", yref: "paper", x0: level, x1: level, y0: 0, y1: 1, line: { color: css("--quiet"), dash: "dash", width: 1.3 } }];
    return { traces, table, height: Math.max(300, 90 + 26 * found.length), layout: {
      shapes, hovermode: "closest", xaxis: { title: { text: title } },
      yaxis: { type: "category", autorange: "reversed", tickvals: found.map(([row]) => row.id), ticktext: found.map(([row]) => short(row.name)) },
    } };
  }

  function make(figure) {
    const section = data[idOf(figure)], kind = figure.dataset.kind, off = hidden();
    const option = (key) => one(`${section.id}.${kind}.${key}`);
    const made = DRAW[kind](section.rows.filter((row) => visible.has(row.id) && !off.has(row.id)), section, option);
    const axis = { gridcolor: css("--line"), linecolor: css("--quiet"), zeroline: false, automargin: true, exponentformat: "SI" };
    const [x0, x1, y0, y1] = option("zoom").split(" ").map(Number);
    const range = (low, high) => option("zoom") && { range: [low, high], autorange: false };
    made.layout = {
      paper_bgcolor: css("--card"), plot_bgcolor: css("--card"), font: { color: css("--text"), size: 12, family: "system-ui, sans-serif" },
      margin: { l: 56, r: 12, t: 8, b: 48 }, height: made.height, showlegend: false, hovermode: made.traces.filter((trace) => trace.name).length > FEW + 1 ? "closest" : "x unified",
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--text") } }, separators: ".,",
      dragmode: coarse ? false : "zoom", modebar: { bgcolor: "#0000", color: css("--quiet"), activecolor: css("--text") },
      ...made.layout, xaxis: { ...axis, ...made.layout.xaxis, ...range(x0, x1) }, yaxis: { ...axis, ...made.layout.yaxis, ...range(y0, y1) },
    };
    return made;
  }

  function draw(figure) {
    if (!figure.seen || figure.closest("[hidden]")) return;
    const plot = figure.querySelector(".plot"), made = (figure.made = make(figure));
    plot.hidden = !(figure.querySelector("[data-empty]").hidden = made.traces.length > 0);
    figure.querySelector("[data-saves]").hidden = plot.hidden;
    if (plot.hidden) return;
    const buttons = ["lasso2d", "select2d", "autoScale2d", "toImage"];
    Plotly.react(plot, made.traces, made.layout, { responsive: true, displaylogo: false, displayModeBar: coarse || "hover", modeBarButtonsToRemove: buttons });
    if (plot.ready) return;
    plot.ready = true;
    plot.on("plotly_relayout", (event) => {
      if (!Object.keys(event).some((key) => key.includes("axis."))) return;
      const { xaxis, yaxis } = plot.layout;
      const ends = event["xaxis.autorange"] ? [] : [...xaxis.range, ...yaxis.range].map((end) => +Number(end).toPrecision(6));
      change(zoomOf(figure), ends.join(" "));
    });
    plot.addEventListener("keydown", (event) => key(event, plot, figure));
  }

  function key(event, plot, figure) {
    const { traces, layout } = figure.made;
    const xs = [...new Set(traces.flatMap((trace) => trace.hoverinfo ? [] : trace.x))].sort((a, b) => a - b);
    const stops = layout.yaxis.type === "category" ? traces.map((_, i) => [{ curveNumber: i, pointNumber: 0 }]) : xs.map((xval) => ({ xval }));
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], factor = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (!step && !factor && event.key !== "0") return;
    event.preventDefault();
    if (event.key === "0") return change(zoomOf(figure), "");
    if (factor) {
      const [low, high] = plot._fullLayout.xaxis.range, middle = (low + high) / 2;
      return Plotly.relayout(plot, { "xaxis.range": [0, 1].map((end) => middle + ((end ? high : low) - middle) * factor) });
    }
    plot.at = Math.min(Math.max((plot.at ?? (step > 0 ? -1 : stops.length)) + step, 0), stops.length - 1);
    Plotly.Fx.hover(plot, stops[plot.at], "xy");
    const speak = () => (document.getElementById("spoken").textContent = $(".hoverlayer text", plot).map((text) => text.textContent).join("; "));
    setTimeout(speak, 60); // Plotly draws at most every 50 ms, and tells nobody when called by a script
  }

  /** Draw what comes into view; a page may have hundreds of plots. */
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting && !target.seen) draw(target, (target.seen = true));
  }, { rootMargin: "400px" });
  $("figure.chart").forEach((figure) => watcher.observe(figure));
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", () => $("figure.chart").forEach((figure) => draw(figure, (figure.seen ||= query === "print"))));
  }

  // ---- downloads

  function csv(table) {
    const cell = (value) => {
      let text = String(value ?? "");
      if (/^[=+\-@\t\r]/.test(text) && isNaN(text)) text = `'${text}`; // no formula for a spreadsheet
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return table.map((row) => row.map(cell).join(",") + "\n").join("");
  }

  function save(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function download(button) {
    const figure = button.closest("figure.chart"), section = data[idOf(button)];
    const name = `${section.id}-${figure ? figure.dataset.kind : "results"}`;
    if (!figure) {
      const keys = Object.keys(section.scores), ends = (key) => [section.scores[key].title, `${section.scores[key].title} low`, `${section.scores[key].title} high`];
      const cells = (row) => [row.name, row.teacher, row.runs, row.over, ...keys.flatMap((key) => row.values[key] ?? ["", "", ""])];
      return save(name, csv([["experiment", "teacher", "runs", "intervals over", ...keys.flatMap(ends)], ...section.rows.filter((row) => visible.has(row.id)).map(cells)]));
    }
    if (button.dataset.save === "csv") return save(name, csv(make(figure).table));
    palette = light; // for paper, whatever the screen
    const made = make(figure), width = 1000, height = Math.max(made.height, 80 + 20 * made.traces.length);
    palette = document.documentElement;
    const layout = { ...made.layout, showlegend: made.layout.yaxis.type !== "category", width, height };
    Plotly.downloadImage({ data: made.traces, layout }, { format: "svg", filename: name, width, height });
  }

  const toggles = (button) => $("[data-toggle]", button.parentElement).map((other) => other.dataset.toggle);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button, a"), off = hidden();
    if (!button) return;
    const { toggle } = button.dataset, head = button.closest("th[data-key]");
    if (button.dataset.save) download(button);
    if ("all" in button.dataset) {
      const all = toggles(button), some = all.some((id) => !off.has(id));
      change("off", [...all.filter(() => some), ...[...off].filter((id) => !all.includes(id))].join(","));
    } else if (toggle) {
      change("off", (off.delete(toggle) ? [...off] : [...off, toggle]).join(","));
    } else if (head) {
      const now = head.getAttribute("aria-sort"), turned = now === "ascending" ? "descending" : "ascending";
      change(`${idOf(head)}.sort`, `${head.dataset.key} ${now ? turned : head.dataset.first}`);
    } else if (button.hash?.startsWith("#run=")) {
      event.preventDefault();
      change("run", new URLSearchParams(button.hash.slice(1)).get("run"));
      load();
    }
  });
  document.addEventListener("dblclick", (event) => {
    const button = event.target.closest("[data-toggle]");
    if (button) change("off", toggles(button).filter((id) => id !== button.dataset.toggle).join(","));
  });

  // ---- videos that play together

  for (const group of $(".together")) {
    const [play, place, speed] = ["button", "input", "select"].map((name) => group.querySelector(`.bar ${name}`));
    const films = () => $("video", group).filter((film) => film.getClientRects().length && film.duration);
    const length = () => Math.max(0, ...films().map((film) => film.duration));
    const now = () => Math.max(0, ...films().map((film) => film.currentTime));
    const seek = (time) => films().forEach((film) => (film.currentTime = Math.min(time, film.duration)));
    const set = (playing) => {
      play.setAttribute("aria-pressed", playing);
      play.textContent = playing ? "Pause" : "Play together";
      if (playing) seek(now() >= length() - 0.05 ? 0 : now());
      for (const film of films()) {
        film.playbackRate = Number(speed.value);
        if (playing) film.play();
        else film.pause();
      }
    };
    play.addEventListener("click", () => set(play.getAttribute("aria-pressed") !== "true"));
    speed.addEventListener("input", () => films().forEach((film) => (film.playbackRate = Number(speed.value))));
    place.addEventListener("input", () => { set(false); seek(place.value * length()); });
    for (const film of $("video", group)) {
      film.addEventListener("timeupdate", () => { if (document.activeElement !== place) place.value = now() / length(); });
      film.addEventListener("ended", () => { if (films().every((other) => other.ended)) set(false); });
    }
  }

  load();
})();

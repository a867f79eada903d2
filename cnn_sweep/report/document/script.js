"use strict";
// The page shows the data of its own JSON only, or on a live page what is beside it; values become text nodes, never markup.
let DATA;
const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick" || key === "onchange") made.addEventListener(key.slice(2), value);
    else if (value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" && !Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  return typeof value === "string" ? value : JSON.stringify(value);
}

// ---- packed numbers ------------------------------------------------------------------------------------------------

const TYPES = { i2: Int16Array, i4: Int32Array, f4: Float32Array };

// Returns numbers as packing.py knows them; those of single precision have six digits, and NaN stands for null.
function unpack(values) {
  if (Array.isArray(values)) return values;
  const bytes = Uint8Array.from(atob(values.bdata), (one) => one.charCodeAt(0));
  const numbers = [...new TYPES[values.dtype](bytes.buffer)];
  if (values.dtype !== "f4") return numbers;
  return numbers.map((value) => (Number.isNaN(value) ? null : Number(value.toPrecision(6))));
}

// Returns learning curves by trial and name.
function unpackCurves({ names, epochs, values }) {
  const numbers = unpack(values);
  let place = 0;
  return Object.fromEntries(Object.entries(epochs).map(([trial, own]) => {
    const epoch = Array.isArray(own) ? own : Array.from({ length: own }, (_, index) => index + 1);
    const part = () => numbers.slice(place, place += epoch.length);
    return [trial, { epoch, ...Object.fromEntries(names.map((name) => [name, part()])) }];
  }));
}

// Returns a figure whose arrays are there, which are unpacked when they are first drawn.
function unpackFigure(name) {
  const figure = DATA.figures[name];
  for (const trace of figure.data) {
    for (const [key, value] of Object.entries(trace)) {
      const place = value?.packed;
      if (place !== undefined) trace[key] = DATA.arrays[place] = unpack(DATA.arrays[place]);
    }
  }
  return figure;
}

// ---- figures -------------------------------------------------------------------------------------------------------

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [ink, grid, shade, quiet, paper] = ["--ink", "--grid", "--shade", "--quiet", "--paper"].map((name) => style.getPropertyValue(name).trim());
  const themedLayout = {
    margin: { l: 60, r: 20, t: 20, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, size: 12 },
    modebar: { bgcolor: paper, color: quiet, activecolor: ink },
    hoverlabel: { bgcolor: shade, font: { color: ink } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hovermode: "closest",
    uirevision: "kept", // zooms stay when a figure is drawn again
    ...layout,
  };
  for (const name of ["xaxis", "yaxis"]) {
    const axis = layout[name] ?? {};
    // Nobody writes a learning rate as 100μ; and powers of ten would have larger letters than what is between them.
    const numbers = { exponentformat: axis.type === "log" ? "e" : "power", minexponent: 6 };
    const title = { standoff: 8, ...axis.title };
    themedLayout[name] = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true, ...numbers, ...axis, title };
  }
  const labels = layout.annotations?.map((one) => ({ ...one, bgcolor: `${paper}b3` }));
  return labels ? { ...themedLayout, annotations: labels } : themedLayout;
}

// Returns a trace whose colours are distinguishable from the page.
function inTheme(trace) {
  if (document.documentElement.dataset.theme !== "dark") return trace;
  const { colorscale, line } = trace;
  return { ...trace, ...(colorscale && { colorscale: DATA.on_dark[colorscale] ?? colorscale }),
    ...(line && { line: { ...line, color: DATA.on_dark[line.color] ?? line.color } }) };
}

let printing = false; // on paper, figures have a fixed width and are drawn at once

// Plotly's configuration. A report sends nothing anywhere, so figures have no button that does.
const CONFIG = { responsive: true, displaylogo: false, showSendToCloud: false, modeBarButtonsToRemove: ["lasso2d"] };

// Plotly's own picture lacks the page's style, and so dots that are drawn as one path.
function savePicture(holder) {
  const { data: traces, layout } = figureOf(holder);
  const { data, shapes } = linked(traces.map(inTheme), Infinity, Infinity, layout.shapes);
  const paper_bgcolor = getComputedStyle(document.body).backgroundColor;
  const { curve, figure } = holder.dataset;
  Plotly.downloadImage({ data, layout: { ...holder.layout, shapes, paper_bgcolor } }, {
    filename: `${DATA.study}-${curve ?? figure}`, width: holder.clientWidth, height: holder.clientHeight, scale: 2,
  });
}

// The same object each time: for another one Plotly would make a figure anew.
let button;
const pictureButton = () => (button ??= { name: "Download as a picture", icon: Plotly.Icons.camera, click: savePicture });

const figureOf = ({ dataset: { curve, figure } }) => (curve ? curveFigure(curve) : unpackFigure(figure));

const MOST_LABELLED = 10; // upright axes whose values fit on paper

// Makes a figure of upright axes so wide that their labels fit; then it scrolls. On paper, it has fewer labels instead.
function fitAxes(holder, layout, count) {
  holder.style.minWidth = printing ? "" : `${6 * count}rem`;
  if (!printing || count <= MOST_LABELLED) return;
  layout.annotations = layout.annotations.filter(({ x }) => x === count - 1);
  layout.xaxis = { ...layout.xaxis, tickangle: -90 };
}

function draw(holder) {
  const { data, layout } = figureOf(holder);
  const first = !holder.dataset.drawn;
  holder.dataset.drawn = "yes";
  const { data: traces, shapes } = linked(data.map(inTheme), MANY, MANY_BARS, layout.shapes);
  const whole = { ...themed(layout), shapes, selections: [], selectionrevision: performance.now() }; // the filter has it now
  if (layout.meta?.axes) fitAxes(holder, whole, layout.meta.axes.length);
  if (printing) Object.assign(whole, { width: holder.clientWidth, height: holder.clientHeight });
  const config = {
    ...CONFIG, modeBarButtonsToRemove: ["lasso2d", "toImage"], modeBarButtonsToAdd: [pictureButton(), ...(layout.meta ? ["select2d"] : [])],
  };
  Plotly.react(holder, traces, whole, config);
  if (first && holder.on) listen(holder, layout);
}

function openPoint(point) {
  const trial = point.customdata ?? point.data.meta;
  if (Number.isInteger(trial)) openTrial(trial);
}

const isVisible = (holder) => holder.offsetParent !== null;
const holders = () => [...document.querySelectorAll(".plot")];

// A figure is drawn only when it comes near the screen, so that long pages open quickly; one at a time, so that the
// page answers meanwhile.
const near = new Set();
let waiting;
const nearby = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) near[isIntersecting ? "add" : "delete"](target);
    drawSoon(0);
  },
  { rootMargin: "400px" },
);

const queued = () => [...near].find((one) => one.isConnected && one.dataset.drawn !== "yes" && isVisible(one));

function drawSoon(ms) {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const holder = queued();
    if (!holder) return;
    draw(holder);
    drawSoon(0);
  }, ms);
}

function redraw(isChanged = () => true, ms = 0) {
  for (const holder of holders()) if (holder.dataset.drawn && isChanged(holder)) holder.dataset.drawn = "old";
  drawSoon(ms);
}

// Figures of trials are drawn again after a moment, because a filter changes with each key.
function selectionChanged() {
  redraw(({ dataset: { curve, figure } }) => curve || DATA.figures[figure]?.data.some(isOfTrials), 150);
}

function drawAll() {
  holders().filter((holder) => holder.dataset.drawn !== "yes" && isVisible(holder)).forEach(draw);
}

// Shows the figure that a list names; returns the place of its drawing.
function showChosen(select) {
  const figures = [...select.closest("section").querySelectorAll("figure[data-choice]")];
  for (const figure of figures) figure.hidden = figure.dataset.choice !== select.value;
  return figures.find((figure) => !figure.hidden)?.querySelector(".plot");
}

function choose(select) {
  const holder = showChosen(select);
  if (holder) draw(holder);
}

// ---- learning curves -----------------------------------------------------------------------------------------------

const chosen = new Set();

// Mean, lowest and highest value of several trials at each epoch that at least two of them reached.
function band(trials, name) {
  const values = new Map();
  for (const trial of trials) {
    DATA.curves[trial].epoch.forEach((epoch, i) => {
      const value = DATA.curves[trial][name]?.[i] ?? null;
      if (value !== null) values.set(epoch, [...(values.get(epoch) ?? []), value]);
    });
  }
  const epochs = [...values.keys()].filter((epoch) => values.get(epoch).length > 1).sort((a, b) => a - b);
  const of = (how) => epochs.map((epoch) => how(values.get(epoch)));
  return {
    epochs,
    mean: of((found) => found.reduce((sum, value) => sum + value, 0) / found.length),
    low: of((found) => Math.min(...found)),
    high: of((found) => Math.max(...found)),
  };
}

function bandTraces(trial, trials, metric, line) {
  const { epochs, mean, low, high } = band(trials, metric);
  const common = { type: "scatter", x: epochs, meta: trial, legendgroup: String(trial) };
  const edge = { ...common, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  const seeds = `mean of ${trials.length} trainings`;
  return [
    { ...edge, y: low },
    { ...edge, y: high, fill: "tonexty", fillcolor: `${line.color}26` },
    {
      ...common, mode: "lines+markers", y: mean, line, marker: { size: 4 }, name: `trial ${trial}, ${seeds}`, showlegend: true,
      hovertemplate: `trial ${trial}, ${seeds}<br>epoch %{x}: %{y:.5g}<extra></extra>`,
    },
  ];
}

// The middle of all trials, behind the ticked ones; learning_curves.py makes the same.
function decileTraces() {
  const { epoch: x, low, middle, high } = DATA.deciles;
  const common = { type: "scatter", mode: "lines", x, hoverinfo: "skip", showlegend: false };
  const edge = { ...common, line: { width: 0 } };
  return [
    { ...edge, y: low },
    { ...edge, y: high, fill: "tonexty", fillcolor: "rgba(128,128,128,0.16)" },
    { ...common, y: middle, line: { color: "gray", width: 1, dash: "dot" } },
  ];
}

// The ticked trials. Those of one configuration become one mean with a band if the leaderboard has a row for each.
function curveFigure(metric, trials = chosen) {
  const traces = metric === DATA.metric && DATA.deciles ? decileTraces() : [];
  const kept = keptTrials();
  for (const [place, trial] of [...trials].entries()) {
    const curve = DATA.curves[trial];
    if (!curve) continue;
    const line = lineOf(place);
    const strength = !kept || kept.has(trial) ? 1 : 2 * PALE;
    const seeds = (areMeans() ? DATA.members[trial] ?? [] : []).filter((one) => DATA.curves[one]);
    if (seeds.length > 1) {
      traces.push(...bandTraces(trial, seeds, metric, line).map((trace) => ({ ...trace, opacity: strength })));
      continue;
    }
    const names = metric.startsWith("val_") ? [metric, metric.slice(4)] : [metric];
    for (const name of names) {
      if (!curve[name] || curve[name].every((value) => value === null)) continue;
      traces.push({
        type: "scatter", mode: "lines+markers", x: curve.epoch, y: curve[name], line, marker: { size: 4 },
        opacity: strength * (name === metric ? 1 : 0.4), meta: trial, legendgroup: String(trial), showlegend: name === metric,
        name: `trial ${trial}`,
        hovertemplate: `trial ${trial}${name === metric ? "" : ", training"}<br>epoch %{x}: %{y:.5g}<extra></extra>`,
      });
    }
  }
  const [low, high] = [Math.min, Math.max].map((end) => end(...traces.map(({ x }) => end(...x))));
  const whole = high - low < 8 && { dtick: 1 }; // as figure.py has it
  return { data: traces, layout: { xaxis: { title: { text: "epoch" }, ...whole }, yaxis: { title: { text: metric } }, showlegend: true } };
}

// ---- the page ------------------------------------------------------------------------------------------------------

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = theme === "dark" ? "Light" : "Dark";
  redraw();
}

function copy(button) {
  const text = button.closest("div:has(pre, code)").querySelector("pre, code").textContent;
  navigator.clipboard?.writeText(text).then(() => { button.textContent = "Copied"; }, () => {});
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
setTheme(prefersDark.matches ? "dark" : "light");
prefersDark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
$("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

const PAPER = 680; // pixels of a page that are left for the columns of a table, as in style.css

// A table that is too wide for paper is split into several; each has some of the columns, and all have the first ones.
function splitForPaper(holder) {
  const table = holder.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const widths = heads.map((head) => (head.classList.contains("pick") ? 0 : head.offsetWidth));
  const total = widths.reduce((sum, width) => sum + width, 0);
  if (total <= PAPER) return;
  const first = heads.findIndex((head) => head.dataset.column === "trial" || head.textContent === "trial");
  const kept = heads.map((_, column) => column).filter((column) => column <= Math.max(first, 0) && widths[column]);
  const parts = [];
  let room = 0;
  heads.forEach((_, column) => {
    if (kept.includes(column) || !widths[column]) return;
    if (!parts.length || room < widths[column]) {
      parts.push([...kept]);
      room = PAPER - kept.reduce((sum, one) => sum + widths[one], 0);
    }
    parts.at(-1).push(column);
    room -= widths[column];
  });
  const columnsOf = (row, columns) => element("tr", {}, ...columns.map((column) => row.cells[column]?.cloneNode(true) ?? ""));
  holder.after(element("div", { class: "parts" }, ...parts.map((columns) => element("table", {},
    element("thead", {}, columnsOf(table.tHead.rows[0], columns)),
    element("tbody", {}, ...[...table.tBodies[0].rows].map((row) => columnsOf(row, columns)))))));
  holder.classList.add("too-wide");
}

let before = null;
function print(on) {
  printing = on;
  document.documentElement.classList.toggle("printing", on);
  document.querySelectorAll(".parts").forEach((part) => part.remove());
  document.querySelectorAll(".scroll").forEach((holder) => holder.classList.remove("too-wide"));
  if (on) document.querySelectorAll("details").forEach((folded) => { folded.open = true; });
  if (on) document.querySelectorAll(".scroll").forEach(splitForPaper);
  if (on) before = document.documentElement.dataset.theme;
  setTheme(on ? "light" : before);
  drawAll();
}
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));

// Shows the controls of a part of the page, which are hidden where there are no scripts, and makes them work.
function equip(part) {
  for (const control of part.querySelectorAll(".controls, [data-copy]")) control.hidden = false;
  for (const chooser of part.querySelectorAll("select[data-choose]")) chooser.addEventListener("change", () => choose(chooser));
  for (const button of part.querySelectorAll("button[data-copy]")) button.addEventListener("click", () => copy(button));
}

// Called when Plotly is loaded, and when there are new figures.
function startFigures() {
  holders().forEach((holder) => nearby.observe(holder));
  document.documentElement.dataset.figures = performance.now();
}

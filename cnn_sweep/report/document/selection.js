"use strict";
// The filter is the only selection. Figures show pale what it leaves out, and a range that is selected in a figure
// becomes a part of it. Ticked trials have a ring, a dash across a box, or a thick line, in the colour of their curve.
// Bars are attempts at trials, from their base on.
const PALE = 0.08; // opacity
const MANY = 1_500; // dots of a trace; more are drawn as one path, because an element for each keeps a browser busy
const MANY_BARS = 500; // of a figure; likewise

// Returns the trials that the filter keeps: those of the configurations, if these are the rows. Null: it keeps all.
function keptTrials() {
  if (!board || order.length === board.count || !$("board")) return null;
  const rows = order.map((index) => board.objects[index]);
  return new Set(areMeans() ? rows.flatMap(({ trial }) => DATA.members[trial] ?? trial) : rows.map(({ trial }) => trial));
}

// Puts conditions into the filter, in place of those that are about these columns alone.
function filterBy(names, terms) {
  let others = [];
  try {
    const text = $("filter").value.trim();
    if (!isWord(text)) others = conjuncts(text).filter((one) => columnsIn(one).some((name) => !names.includes(name)));
  } catch { /* what cannot be read is replaced */ }
  if (board.name !== "trials") view("trials"); // a figure's points are trials
  $("filter").value = [...others, ...terms].filter(Boolean).join(" and ");
  select();
}

// ---- from the filter to figures --------------------------------------------------------------------------------------

const isOfTrials = (trace) => Boolean(trace.customdata);
const lineOf = (place) => ({
  color: DATA.colours[place % DATA.colours.length],
  dash: DATA.dashes[Math.floor(place / DATA.colours.length) % DATA.dashes.length],
});

const placesOf = (trace, wanted) => trace.customdata.flatMap((trial, place) => (wanted(trial) ? place : []));

function pointsOf(trace, wanted) {
  const places = placesOf(trace, wanted);
  const names = ["x", "y", "base", "text", "hovertext", "customdata"].filter((name) => Array.isArray(trace[name]));
  return Object.fromEntries(names.map((name) => [name, places.map((place) => trace[name][place])]));
}

// Returns the middles of bars as dots.
const middles = ({ base, width, ...trace }) => ({ ...trace, x: trace.x.map((length, place) => base[place] + length / 2) });

// Returns of the traces of a figure those to draw, and its own shapes and others below them: what is left out is pale
// and below, what is ticked is marked and on top.
function linked(traces, many = MANY, manyBars = MANY_BARS, own = []) {
  const kept = keptTrials();
  const isKept = (trial) => !kept || kept.has(trial);
  const places = new Map([...chosen].map((trial, place) => [trial, place]).filter(([trial]) => isKept(trial)));
  const boxes = traces.filter(({ type }) => type === "box");
  const bars = traces.filter(({ base }) => base).reduce((sum, { base }) => sum + base.length, 0);
  const parts = traces.map((trace) => {
    if (!isOfTrials(trace)) return { data: [trace] };
    if (trace.mode === "lines") return merged(trace, isKept, marksOfLines(trace, places));
    const [slot, middle] = trace.type === "box" ? slotOf(trace, boxes) : [0, 0];
    if (trace.base) {
      const marks = marksOfDots(middles(trace), places);
      return bars > manyBars ? merged(trace, isKept, marks, trace) : { data: [selected(trace, kept && isKept), ...marks] };
    }
    if (trace.customdata.length <= many) {
      const beside = middle ? { ...trace, x: trace.x.map((one) => one + middle) } : trace;
      return { data: [selected(trace, kept && isKept), ...marksOfDots(beside, places)] };
    }
    const dots = trace.type === "box" ? spread(trace, slot, middle) : trace;
    return merged(dots, isKept, marksOfDots(dots, places), trace);
  });
  const shapes = parts.flatMap((part) => part.shapes ?? []).sort((one, other) => one.opacity - other.opacity);
  return { data: parts.flatMap(({ data }) => data), shapes: [...own, ...shapes] };
}

const selected = (trace, isKept) => (
  { ...trace, selectedpoints: isKept ? placesOf(trace, isKept) : null, unselected: { marker: { opacity: PALE } } }
);

function marksOfLines(trace, places) {
  return [...places].map(([trial, place]) => [pointsOf(trace, (one) => one === trial), lineOf(place).color])
    .filter(([points]) => points.x.length).map(([points, color]) => ({ ...trace, ...points, line: { color, width: 3 }, zorder: 1 }));
}

function marksOfDots(trace, places) {
  const points = pointsOf(trace, (trial) => places.has(trial));
  const color = points.customdata.map((trial) => lineOf(places.get(trial)).color);
  const shape = trace.type === "box" ? { symbol: "line-ew-open", size: 26, color } : { symbol: "circle-open", size: 11, color };
  // On a bar of its colour, nobody would see a ring without something inside.
  const paper = trace.type === "bar" && { symbol: "circle", color: getComputedStyle(document.body).backgroundColor };
  const marked = {
    ...points, type: "scatter", mode: "markers", marker: { ...shape, ...paper, line: { width: 2, color } }, showlegend: false,
    hovertemplate: trace.hovertemplate, name: "",
  };
  return color.length ? [marked] : [];
}

// Returns the room that Plotly leaves for each of the boxes beside each other, and where it lies.
function slotOf(trace, boxes) {
  const slot = 0.7 / boxes.length;
  return [slot, (boxes.indexOf(trace) - (boxes.length - 1) / 2) * slot];
}

// Returns the dots of a box beside each other, each always at the same place.
function spread(trace, slot, middle) {
  const noise = (trial) => (43_758.5 * Math.abs(Math.sin(trial + 1))) % 1 - 0.5;
  return { ...trace, type: "scatter", x: trace.x.map((one, place) => one + middle + 0.6 * slot * noise(trace.customdata[place])) };
}

// Draws the lines, dots or bars of a trace as two paths. A trace that shows nothing answers the pointer, and `whole` has what
// is not dots: boxes, or an entry of the legend.
function merged(trace, isKept, marks, whole) {
  const isLine = trace.mode === "lines";
  const isBar = Boolean(trace.base);
  const { color, width = isBar ? 0 : Math.min(trace.marker.size, 4), opacity = 1 } = isLine ? trace.line : trace.marker;
  const path = (points) => (isBar ? pathOfBars(points, trace.width) : pathOf(points, isLine));
  const fill = isBar && { fillcolor: color };
  const shape = (points, opacity) => ({ type: "path", path: path(points), line: { color, width }, ...fill, opacity, layer: "between" });
  const own = pointsOf(trace, isKept);
  const pale = pointsOf(trace, (trial) => !isKept(trial));
  const heard = { ...(isBar ? middles(own) : own), type: "scatter", mode: "none", name: "", showlegend: false, marker: { color } };
  heard.hovertemplate = isLine || whole.type !== "box" ? trace.hovertemplate : trace.hovertemplate.replace(/%\{x\}[^:]*: /u, "");
  const rest = !whole ? [] : whole.type === "box" ? [summary(whole)] : [{ ...whole, x: [null], y: [null], base: null, customdata: null }];
  const shapes = [shape(pale, isLine ? PALE : 2 * PALE), shape(own, opacity)].filter(({ path }) => path);
  return { data: [...rest, heard, ...marks], shapes };
}

// Returns boxes without their points: quartiles as Plotly's own (Hazen's), and the ends of the values as whiskers.
function summary({ x, y, customdata, ...rest }) {
  const places = [...new Set(x)];
  const sorted = places.map((one) => Float64Array.from(y.filter((value, place) => x[place] === one && value !== null)).sort());
  const at = (share) => sorted.map((values) => {
    const rank = Math.min(Math.max(share * values.length - 0.5, 0), values.length - 1);
    const low = values[Math.floor(rank)];
    return low + (rank % 1) * (values[Math.ceil(rank)] - low);
  });
  const [lowerfence, q1, median, q3, upperfence] = [0, 0.25, 0.5, 0.75, 1].map(at);
  return { ...rest, x: places, lowerfence, q1, median, q3, upperfence, boxpoints: false };
}

// Writes lines, or dots, which are closed lines without length: their ends are round. Plotly reads each number again.
function pathOf({ x, y }, isLine) {
  let isOpen = false;
  return x.map((across, place) => {
    const isGap = across === null || y[place] === null;
    const text = isGap ? "" : `${isOpen ? "L" : "M"}${across},${y[place]}${isLine ? "" : "Z"}`;
    isOpen = isLine && !isGap;
    return text;
  }).join("");
}

// Writes bars, which lie between two places of the upright axis, as rectangles.
const pathOfBars = ({ base, x, y }, width) => x.map((length, place) => {
  const right = (base[place] + length).toPrecision(6);
  const [low, high] = [-width / 2, width / 2].map((half) => (y[place] + half).toFixed(2));
  return `M${base[place]},${low}H${right}V${high}H${base[place]}Z`;
}).join("");

// ---- from figures to the filter ------------------------------------------------------------------------------------

// Returns the condition for a part of an axis, by places on it; empty if that is all of it. Upright axes have `ends`,
// which bound nothing, and a place for trials in which the hyperparameter is inactive.
function conditionOn({ column, values, ends, log, inactive }, low, high) {
  if (ends && low <= ends[0] && high >= ends[1]) return "";
  const name = columnWord(column);
  const word = (place) => shown(Number((log ? 10 ** place : place).toPrecision(4)));
  const missing = inactive !== undefined && low <= inactive ? `missing(${name})` : "";
  let term = "";
  if (values) {
    const inside = values.filter((_, place) => low <= place && place <= high);
    if (inside.length) term = `${name} in [${inside.map((one) => JSON.stringify(one)).join(", ")}]`;
  } else if (ends && low <= ends[0]) {
    if (!missing || high > inactive + 0.1 * (ends[1] - inactive)) term = `${name} <= ${word(high)}`;
  } else {
    term = ends && high >= ends[1] ? `${name} >= ${word(low)}` : `${word(low)} <= ${name} <= ${word(high)}`;
  }
  return missing && term ? `(${missing} or ${term})` : missing || term;
}

// Returns the upright axes inside a rectangle, or else the nearest, each with the part of it.
function crossed(axes, { x, y }) {
  const inside = axes.filter((_, place) => x[0] <= place && place <= x[1]);
  const nearest = Math.min(Math.max(Math.round((x[0] + x[1]) / 2), 0), axes.length - 1);
  const place = ({ ends }, share) => ends[0] + share * (ends[1] - ends[0]);
  return (inside.length ? inside : [axes[nearest]]).map((axis) => [axis, y.map((share) => place(axis, share))]);
}

// Makes the rectangle that is selected in a figure a part of the filter; none: forgets what is there about its axes.
function brush({ x, y, axes }, range) {
  if (!range) {
    filterBy((axes ?? [x, y]).filter(Boolean).map(({ column }) => column), []);
    return;
  }
  const parts = axes ? crossed(axes, range) : [[x, range.x], [y, range.y]].filter(([axis]) => axis);
  filterBy(parts.map(([{ column }]) => column), parts.map(([axis, ends]) => conditionOn(axis, ...ends)));
}

function listen(holder, { meta }) {
  holder.on("plotly_click", (event) => openPoint(event.points[0]));
  if (!meta || !$("board")) return;
  const sorted = (ends) => [...ends].sort((a, b) => a - b);
  holder.on("plotly_selected", (event) => {
    if (event?.range) brush(meta, { x: sorted(event.range.x), y: sorted(event.range.y) });
  });
  holder.on("plotly_deselect", () => brush(meta));
}

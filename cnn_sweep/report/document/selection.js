"use strict";
// The filter is the only selection. Figures show pale what it leaves out, and a range that is selected in a figure
// becomes a part of it. Ticked trials have a ring, a dash across a box, or a thick line, in the colour of their curve.
const PALE = 0.08; // opacity

// Returns the trials that the filter keeps: those of the configurations, if these are the rows. Null: it keeps all.
function keptTrials() {
  if (!board || order.length === board.rows.length || !$("board")) return null;
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

const isOfTrials = (trace) => Array.isArray(trace.customdata);
const lineOf = (place) => ({
  color: DATA.colours[place % DATA.colours.length],
  dash: DATA.dashes[Math.floor(place / DATA.colours.length) % DATA.dashes.length],
});

const placesOf = (trace, wanted) => trace.customdata.flatMap((trial, place) => (wanted(trial) ? place : []));

function pointsOf(trace, wanted) {
  const places = placesOf(trace, wanted);
  return Object.fromEntries(["x", "y", "customdata"].map((name) => [name, places.map((place) => trace[name][place])]));
}

// Makes of the traces of a figure those to draw: what is left out is pale and below, what is ticked is marked and on top.
function linked(traces) {
  const kept = keptTrials();
  const isKept = (trial) => !kept || kept.has(trial);
  const places = new Map([...chosen].map((trial, place) => [trial, place]).filter(([trial]) => isKept(trial)));
  return traces.flatMap((trace) => {
    if (!isOfTrials(trace)) return [trace];
    return trace.mode === "lines" ? linkedLines(trace, isKept, places) : linkedPoints(trace, kept && isKept, places);
  });
}

function linkedLines(trace, isKept, places) {
  const pale = { ...pointsOf(trace, (trial) => !isKept(trial)), zorder: -1, opacity: PALE, hoverinfo: "skip", hovertemplate: null };
  const marked = [...places].map(([trial, place]) => [pointsOf(trace, (one) => one === trial), lineOf(place).color])
    .filter(([points]) => points.x.length).map(([points, color]) => ({ ...points, line: { color, width: 3 }, zorder: 1 }));
  return [pale, pointsOf(trace, isKept), ...marked].map((part) => ({ ...trace, ...part }));
}

function linkedPoints(trace, isKept, places) {
  const points = pointsOf(trace, (trial) => places.has(trial));
  const color = points.customdata.map((trial) => lineOf(places.get(trial)).color);
  const shape = trace.type === "box" ? { symbol: "line-ew-open", size: 26 } : { symbol: "circle-open", size: 11 };
  const own = { ...trace, selectedpoints: isKept ? placesOf(trace, isKept) : null, unselected: { marker: { opacity: PALE } } };
  const marked = {
    ...points, type: "scatter", mode: "markers", marker: { ...shape, color, line: { width: 2, color } }, showlegend: false,
    hovertemplate: trace.hovertemplate, name: "",
  };
  return color.length ? [own, marked] : [own];
}

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

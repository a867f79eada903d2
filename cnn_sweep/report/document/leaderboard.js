"use strict";
// The leaderboard: rows of trials or of configurations, filtered, sorted, compared and downloaded. What the reader
// chooses is kept in the page's address, after the name of a section: #leaderboard?filter=epochs+%3E+5&sort=-value
const PAGE = 50; // rows at first, and that are added at once
const MOST_COMPARED = 5;
const FIRST = ["rank", "trial"]; // columns that stay in sight
// NaN and infinities, which JSON lacks.
const NON_FINITE = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const FIGURE_SPACE = "\u2007";
const POINT_SPACE = "\u2008";

let board;
let columns;

// Takes the data to show, with what the page shows of them at first.
function take(data) {
  DATA = { ...data, curves: unpackCurves(data.curves) };
  for (const one of DATA.boards) {
    const values = one.values.map((column) => (Array.isArray(column) ? column : Array(one.count).fill(column.all)));
    for (const [row, column, word] of one.nonfinite) values[column][row] = NON_FINITE[word];
    // A condition may name what the table does not show, too; so has the dialog of a trial.
    one.names = [...one.columns, ...one.more];
    one.objects = Array.from({ length: one.count }, (_, row) => Object.fromEntries(one.names.map((name, place) => [name, values[place][row]])));
    one.formats = {};
    one.scales = {};
  }
  [board] = DATA.boards;
  columns = board.shown;
  tickOnly(DATA.chosen);
}

function tickOnly(trials) {
  chosen.clear();
  for (const trial of trials) chosen.add(trial);
}

const has = (board, name) => board.names.includes(name);
let sorting = { column: "rank", descending: false };
let order = [];
let listed = 0;
let selection; // what figures show, as text: another order alone does not change them
const areMeans = () => board.name === "configurations";

// ---- numbers -------------------------------------------------------------------------------------------------------

const fraction = (text) => (/^-?\d+\.\d+$/.test(text) ? text.length - text.indexOf(".") - 1 : 0);

// Returns how a column shows its numbers: with as many digits in each row, or padded so that the points are aligned.
function formatOf(own, name) {
  if (own.formats[name]) return own.formats[name];
  const numbers = own.objects.map((row) => row[name]).filter((value) => typeof value === "number" && Number.isFinite(value));
  const [low, high] = numbers.map(Math.abs).filter((size) => size > 0)
    .reduce(([least, most], size) => [Math.min(least, size), Math.max(most, size)], [Infinity, 0]);
  const digits = Math.min(Math.max(3 - Math.floor(Math.log10(high)), 1), 6);
  const even = high / low < 1000 && high < 1e6 && high >= 1e-3;
  let widest = 0;
  for (const value of numbers) {
    if (!Number.isInteger(value)) widest = Math.max(widest, fraction(shown(value)));
    if (even && widest >= digits) break; // more are not shown
  }
  const pad = (text) => {
    const there = fraction(text);
    return widest && !there ? text + POINT_SPACE + FIGURE_SPACE.repeat(widest) : text + FIGURE_SPACE.repeat(widest - there);
  };
  const isWhole = widest === 0;
  own.formats[name] = (value) => {
    if (typeof value !== "number" || !Number.isFinite(value) || isWhole) return shown(value);
    return even ? value.toFixed(Math.min(digits, widest)) : pad(shown(value));
  };
  return own.formats[name];
}

// Returns the share of a bar's length at which a value of a column lies; outliers lie at the ends.
function scaleOf(own, names) {
  const numbers = own.objects.flatMap((row) => names.map((name) => row[name]))
    .filter((value) => typeof value === "number" && Number.isFinite(value)).sort((a, b) => a - b);
  const at = (share) => numbers[Math.round(share * (numbers.length - 1))];
  const [low, high] = [at(0.05), at(0.95)];
  return (value) => (high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 1);
}

// ---- rows ----------------------------------------------------------------------------------------------------------

// Words that name no column and compare nothing are looked for in all columns.
const isWord = (text) => /^[\p{L}\p{N}_.:-]+$/u.test(text) && Number.isNaN(Number(text)) && !has(board, text)
  && !["true", "false"].includes(text);

function test(text) {
  if (!isWord(text)) return condition(text, board.names);
  const wanted = text.toLowerCase();
  return (row) => board.names.some((name) => shown(row[name]).toLowerCase().includes(wanted));
}

function matching(text) {
  const all = board.objects.map((_, index) => index);
  if (!text) return all;
  const accepts = test(text);
  return all.filter((index) => accepts(board.objects[index]));
}

// Says why a filter is not applied, with a caret below the place.
function complain(text, error) {
  const sentence = error instanceof RangeError ? "it is nested too deeply" : error.message;
  $("problem").textContent = `The filter is not applied, and all rows are shown: ${sentence}`;
  $("place").textContent = error.at === undefined ? "" : `${text}\n${" ".repeat(error.at)}^`;
}

function select() {
  $("problem").textContent = "";
  $("place").textContent = "";
  const text = $("filter").value.trim();
  try {
    order = matching(text);
  } catch (error) {
    complain(text, error);
    order = matching("");
  }
  const { column } = sorting;
  const sign = sorting.descending ? -1 : 1;
  const numeric = board.numeric.includes(column);
  order.sort((one, other) => {
    const [a, b] = [board.objects[one][column], board.objects[other][column]];
    const [none, nothing] = [a, b].map((value) => value === null || Number.isNaN(value));
    if (none || nothing) return none - nothing || one - other; // missing values always come last
    const [x, y] = numeric ? [a, b] : [shown(a), shown(b)];
    return (x < y ? -sign : x > y ? sign : 0) || one - other;
  });
  list();
  remember();
  const before = selection;
  selection = board.name + (order.length < board.count ? [...order].sort((one, other) => one - other).join() : "");
  if (selection !== before) selectionChanged();
}

function cell(row, name) {
  const value = row[name];
  const numeric = board.numeric.includes(name);
  const td = element("td", { class: [numeric ? "number" : "", FIRST.includes(name) ? `kept ${name}` : ""].join(" ").trim() });
  if (name === "trial") td.append(element("button", { onclick: () => openTrial(value) }, shown(value)));
  else td.append(numeric ? formatOf(board, name)(value) : shown(value));
  if (board.bars.includes(name)) board.scales[name] ??= scaleOf(board, [name, ...(board.intervals[name] ?? [])]);
  const scale = board.scales[name];
  if (scale && typeof value === "number" && Number.isFinite(value)) {
    const ends = board.intervals[name]?.map((end) => row[end]);
    const [low, high] = ends && ends[0] !== null ? ends.map(scale) : [0, scale(value)];
    td.classList.add("barred");
    td.style.setProperty("--low", `${100 * low}%`);
    td.style.setProperty("--high", `${100 * Math.max(high, low + 0.02)}%`);
  }
  return td;
}

function line(index) {
  const row = board.objects[index];
  const { trial } = row;
  const box = element("input", {
    type: "checkbox", "aria-label": `tick trial ${trial}`, onchange: (event) => tick(trial, event.target.checked),
  });
  box.checked = chosen.has(trial);
  const kind = row.rank === 1 ? "best" : row.tied === true ? "tied" : false;
  return element("tr", { class: kind, "data-trial": trial }, element("td", { class: "pick kept" }, box), ...columns.map((name) => cell(row, name)));
}

// Adds rows to those that are there, which stay.
function more() {
  const next = order.slice(listed, listed + PAGE);
  $("rows").append(...next.map(line));
  listed += next.length;
  const [kept, all, some] = [order.length, board.count, listed].map((count) => count.toLocaleString("en"));
  $("count").textContent = `${kept} of ${all} ${board.name}, ${some} shown`;
  $("more").hidden = listed >= order.length;
}

function list() {
  $("rows").replaceChildren();
  listed = 0;
  more();
  for (const th of document.querySelectorAll("#board th[data-column]")) {
    const own = th.dataset.column === sorting.column;
    th.setAttribute("aria-sort", own ? (sorting.descending ? "descending" : "ascending") : "none");
  }
}

function sortBy(column) {
  sorting = { column, descending: sorting.column === column && !sorting.descending };
  select();
}

function tick(trial, on) {
  if (on) chosen.add(trial);
  else chosen.delete(trial);
  ticksChanged();
}

function ticksChanged() {
  countTicks();
  selectionChanged();
  remember();
}

function untick() {
  tickOnly([]);
  list();
  ticksChanged();
}

const ticked = () => board.objects.filter((row) => chosen.has(row.trial));

function countTicks() {
  const count = ticked().length;
  $("compare").disabled = count < 2 || count > MOST_COMPARED;
  $("compare").textContent = $("compare").disabled ? `Compare 2 to ${MOST_COMPARED} ticked (${count} are)` : `Compare ${count} ticked`;
  $("untick").disabled = !chosen.size;
}

// ---- columns and views ---------------------------------------------------------------------------------------------

function head() {
  const names = columns.map((name) => element("th", {
    scope: "col", "data-column": name, "aria-sort": "none", class: FIRST.includes(name) ? `kept ${name}` : "",
  }, element("button", { onclick: () => sortBy(name) }, name)));
  const pick = element("th", { scope: "col", class: "pick kept" }, "tick");
  document.querySelector("#board thead tr").replaceChildren(pick, ...names);
}

function listColumns() {
  $("columns").replaceChildren(...board.names.filter((name) => !FIRST.includes(name)).map((name) => {
    const box = element("input", { type: "checkbox", onchange: (event) => show(name, event.target.checked) });
    box.checked = columns.includes(name);
    return element("label", {}, box, name);
  }));
}

function show(name, on) {
  const wanted = new Set(columns);
  if (on) wanted.add(name);
  else wanted.delete(name);
  columns = board.names.filter((one) => wanted.has(one));
  head();
  select();
}

// Changes between rows of trials and of configurations; names are those of the columns to show.
function view(name, names = []) {
  board = DATA.boards.find((one) => one.name === name) ?? DATA.boards[0];
  const known = board.names.filter((one) => FIRST.includes(one) || names.includes(one));
  columns = names.length ? known : board.shown;
  if (!has(board, sorting.column)) sorting = { column: "rank", descending: false };
  if ($("view")) $("view").value = board.name;
  head();
  listColumns();
  countTicks();
  select();
}

// ---- comparison and download ---------------------------------------------------------------------------------------

// Shows where the ticked rows differ; numbers have their difference to those of the first row.
function compare() {
  const rows = ticked().slice(0, MOST_COMPARED);
  fill = compare;
  const differs = (name) => new Set(rows.map((row) => JSON.stringify(row[name]))).size > 1;
  const names = board.columns.filter((name) => name !== "trial" && differs(name));
  const value = (name, row, place) => {
    const td = element("td", typeof row[name] === "number" ? { class: "number" } : {}, shown(row[name]));
    const gap = row[name] - rows[0][name];
    const isGap = place && [row, rows[0]].every((one) => typeof one[name] === "number") && gap;
    if (isGap) td.append(element("small", {}, `${gap > 0 ? "+" : ""}${shown(gap)}`));
    return td;
  };
  const table = element("table", {},
    element("thead", {}, element("tr", {}, element("th", {}, ""), ...rows.map((row) => element("th", { scope: "col" }, `trial ${row.trial}`)))),
    element("tbody", {}, ...names.map((name) => element("tr", {},
      element("th", { scope: "row" }, name), ...rows.map((row, place) => value(name, row, place))))));
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences" }, table);
  const holder = element("div", { class: "plot", role: "group", "aria-label": "Learning curves" });
  open(`Comparison of ${rows.length} ${board.name}`, scroll, holder);
  const curves = curveFigure(DATA.metric, rows.map((row) => row.trial));
  if (curves.data.length && window.Plotly) Plotly.newPlot(holder, curves.data, themed(curves.layout), CONFIG);
  else holder.remove();
}

const FORMULA = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]./su; // as csv_tables.py knows them

function field(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(shown(value) === "" ? "" : Number.isFinite(value) ? value : shown(value));
  if (typeof value === "boolean") return value ? "True" : "False";
  let text = typeof value === "string" ? value : JSON.stringify(value);
  if (FORMULA.test(text) && Number.isNaN(Number(text))) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const table = () => [columns, ...order.map((index) => columns.map((name) => board.objects[index][name]))]
  .map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";

function download() {
  const link = element("a", { download: `${DATA.study}-${board.name}.csv` });
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

let fill = () => {}; // makes the content of the dialog again

function open(title, ...content) {
  const dialog = $("trial");
  const close = element("button", { id: "close", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(element("div", { class: "title" }, element("h2", {}, title), close), ...content);
  if (dialog.open) return;
  dialog.showModal();
  dialog.scrollTop = 0;
}

function openTrial(trial) {
  const trials = DATA.boards.find((one) => one.name === "trials");
  const row = trials.objects.find((one) => one.trial === trial);
  if (!row) return;
  fill = () => openTrial(trial);
  const facts = element("dl", { class: "facts" });
  for (const name of trials.names) {
    if (row[name] !== null) facts.append(element("dt", {}, name), element("dd", {}, shown(row[name])));
  }
  open(`Trial ${trial}`, facts);
}

// ---- the address ---------------------------------------------------------------------------------------------------

let section = "";
let isRestoring = false;

// What the reader chose, where it differs from the page as it opens.
function choices() {
  const query = new URLSearchParams();
  const put = (name, value, usual) => { if (value !== usual) query.set(name, value); };
  put("filter", $("filter").value.trim(), "");
  put("sort", (sorting.descending ? "-" : "") + sorting.column, "rank");
  put("rows", board.name, DATA.boards[0].name);
  put("columns", columns.join(), board.shown.join());
  put("ticked", [...chosen].join(), DATA.chosen.join());
  return query;
}

// Writes the reader's choices into the address.
function remember() {
  if (isRestoring) return;
  const text = choices().toString();
  const hash = section + (text ? `?${text}` : "");
  try {
    if (location.hash.slice(1) !== hash) history.replaceState(null, "", `#${hash}`);
  } catch { /* some browsers allow only so many changes in a while; the next one writes it */ }
}

function applyChoices(query) {
  isRestoring = true;
  const text = query.get("filter") ?? "";
  if ($("filter").value.trim() !== text) $("filter").value = text; // what is being typed stays
  const sort = query.get("sort") ?? "rank";
  sorting = { column: sort.replace(/^-/u, ""), descending: sort.startsWith("-") };
  tickOnly(query.get("ticked")?.match(/\d+/gu)?.map(Number) ?? (query.has("ticked") ? [] : DATA.chosen));
  view(query.get("rows") ?? DATA.boards[0].name, (query.get("columns") ?? "").split(",").filter(Boolean));
  isRestoring = false;
}

function restore() {
  const [name, query] = location.hash.slice(1).split(/\?(.*)/su);
  section = name;
  if (query !== undefined && $("board")) {
    applyChoices(new URLSearchParams(query));
    if (name) document.getElementById(name)?.scrollIntoView();
  }
  const folded = name && document.getElementById(name)?.querySelector(":scope > details");
  if (folded) folded.open = true; // a link to a folded section opens it
  if ($("board")) remember();
}

// Makes the leaderboard's controls work, if the page has one.
function equipBoard() {
  if (!$("board")) return;
  $("filter").addEventListener("input", select);
  $("more").addEventListener("click", more);
  $("compare").addEventListener("click", compare);
  $("untick").addEventListener("click", untick);
  $("download").addEventListener("click", download);
  $("view")?.addEventListener("change", () => view($("view").value));
  const holder = $("board").parentElement;
  holder.addEventListener("scroll", () => {
    if (holder.scrollTop + 2 * holder.clientHeight > holder.scrollHeight && listed < order.length) more();
  });
  applyChoices(new URLSearchParams());
}

addEventListener("hashchange", restore);
if ($("data")) { // a live page has none: it takes what is beside it
  take(JSON.parse($("data").textContent));
  equip(document);
  equipBoard();
  restore();
  document.documentElement.dataset.ready = performance.now();
}

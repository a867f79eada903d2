"use strict";
// A live page: asks for the data beside it (data.js, which calls `receive`) again and again, and shows what is new where
// the reader is: filter, order, columns, ticks, scroll positions, zooms, the open dialog and the focus stay.
const STALE_AFTER = 3; // intervals without new data after which nobody seems to write
const POLICY = document.querySelector("meta[http-equiv]").content; // has the hashes of all scripts of this page
let newest = null; // what was received last
let writtenAt = 0; // when that was written, by this machine's clock, in milliseconds since 1970
let askedAt = 0;
let bodies = new Map(); // HTML of each section by its name

// ---- what stays ----------------------------------------------------------------------------------------------------

// Returns a selector of the control that has the focus, which may be made again.
function focused() {
  const own = document.activeElement;
  if (own.id) return `#${CSS.escape(own.id)}`;
  const line = own.closest("[data-trial], [data-column]");
  if (!line) return null;
  const [name] = ["data-trial", "data-column"].filter((one) => line.hasAttribute(one));
  return `#board [${name}=${CSS.escape(line.getAttribute(name))}] ${own.localName}`;
}

// Carries what the reader chose, and figures with their zooms, from the old content of a section to the new one.
function carry(before, after) {
  const pairs = (selector, key) => {
    const known = new Map([...before.querySelectorAll(selector)].map((one, place) => [key(one, place), one]));
    return [...after.querySelectorAll(selector)].map((one, place) => [known.get(key(one, place)), one]).filter(([old]) => old);
  };
  const byPlace = (_, place) => place;
  for (const [old, own] of pairs("details", byPlace)) own.open = old.open;
  for (const [old, own] of pairs("input[type=search]", (one) => one.id)) own.value = old.value;
  for (const [old, own] of pairs("select", byPlace)) {
    if ([...own.options].some((option) => option.value === old.value)) own.value = old.value;
  }
  for (const [old, own] of pairs(".plot", (one) => JSON.stringify(one.dataset.curve ?? [one.dataset.figure]))) own.replaceWith(old);
}

// Runs a change, after which everything lies where it lay, for the reader.
function inPlace(change) {
  const focus = focused();
  const caret = document.activeElement.selectionStart ?? null;
  const scrolled = [...document.querySelectorAll("main .scroll, dialog")].map((one) => [one.closest("[id]").id, one.scrollLeft, one.scrollTop]);
  const edge = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop); // above it lies the list of sections
  const anchor = [...document.querySelectorAll("main section")].find((one) => one.getBoundingClientRect().bottom > edge);
  const top = anchor?.getBoundingClientRect().top;
  change();
  for (const [id, left, down] of scrolled) {
    const own = document.getElementById(id);
    const holder = own?.matches("dialog") ? own : own?.querySelector(".scroll");
    holder?.scrollTo(left, down);
  }
  const again = focus === null ? null : document.querySelector(focus);
  if (again && again !== document.activeElement) {
    again.focus({ preventScroll: true });
    if (caret !== null) again.setSelectionRange(caret, caret);
  }
  if (anchor?.isConnected && scrollY) scrollBy(0, anchor.getBoundingClientRect().top - top);
}

// ---- what changes --------------------------------------------------------------------------------------------------

// Makes one section, or renews the one that is there. Its HTML has every value escaped, and scripts in it would not run.
function renewSection({ name, title, body }, place) {
  const own = $(name) ?? element("section", { id: name });
  if (own !== place) document.querySelector("main").insertBefore(own, place);
  if (bodies.get(name) === body) return own;
  const made = document.createElement("template");
  made.innerHTML = body;
  equip(made.content);
  carry(own, made.content);
  own.replaceChildren(element("h2", {}, title), made.content);
  for (const chooser of own.querySelectorAll("select[data-choose]")) showChosen(chooser);
  if (name === "leaderboard") equipBoard();
  return own;
}

function renewLinks(sections) {
  const list = document.querySelector("nav ul");
  const links = [...list.querySelectorAll("a")].map((link) => link.textContent);
  if (links.join() === sections.map(({ title }) => title).join()) return;
  const items = sections.map(({ name, title }) => element("li", {}, element("a", { href: `#${name}` }, title)));
  list.replaceChildren(...items, list.lastElementChild);
}

function renew({ page, headline, sections, footer }) {
  const chosenBefore = $("board") && choices();
  const rows = listed;
  take(page);
  $("headline").textContent = headline;
  document.querySelector("footer").innerHTML = footer;
  renewLinks(sections);
  const names = new Set(sections.map(({ name }) => name));
  for (const own of document.querySelectorAll("main section")) if (!names.has(own.id)) own.remove();
  let place = document.querySelector("main section");
  for (const one of sections) place = renewSection(one, place).nextElementSibling;
  bodies = new Map(sections.map(({ name, body }) => [name, body]));
  if (chosenBefore && $("board")) applyChoices(chosenBefore);
  else restore();
  while ($("board") && listed < Math.min(rows, order.length)) more();
  if ($("board")) remember();
  startFigures();
  redraw();
  if ($("trial").open) fill();
}

// ---- how old it is -------------------------------------------------------------------------------------------------

function duration(seconds) {
  for (const [unit, size] of [["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

function tell(text, state) {
  document.documentElement.dataset.live = state;
  $("age").className = state;
  if ($("age").textContent !== text) $("age").textContent = text;
}

function tellAge() {
  if (!newest) return;
  const age = Math.max(Date.now() - writtenAt, 0) / 1000;
  if (newest.finished) tell(`Finished. Written on ${newest.made} UTC.`, "finished");
  else if (age <= STALE_AFTER * newest.every_s) tell(`Written ${duration(age)} ago.`, "fresh");
  else tell(`Written ${duration(age)} ago: nobody has renewed this page for ${STALE_AFTER} intervals of ${newest.every_s} s.`, "stale");
}

// ---- asking --------------------------------------------------------------------------------------------------------

// Called by data.js.
function receive(next) {
  if (next.policy !== POLICY) {
    if (newest) location.reload(); // another version of the program has written the page again
    else tell("This page and its data were written by different versions of cnn-sweep. Write both again.", "stale");
    return;
  }
  if (newest?.written === next.written) return;
  // Clocks differ: what was not there when this page asked before is not older than that.
  writtenAt = Math.min(Math.max(1000 * next.written, newest ? askedAt.before : 0), Date.now());
  newest = next;
  inPlace(() => renew(next));
  document.documentElement.dataset.ready = performance.now();
}

function ask() {
  askedAt = { before: askedAt.now ?? 0, now: Date.now() };
  const script = element("script", { src: `data.js?${askedAt.now}` });
  const next = () => {
    script.remove();
    tellAge();
    if (newest?.finished) return;
    const interval = 1000 * (newest?.every_s ?? 2);
    setTimeout(ask, Math.min(Math.max(writtenAt + 1.01 * interval - Date.now(), interval / 4), interval));
  };
  script.addEventListener("load", next);
  script.addEventListener("error", next);
  document.head.append(script);
}

function startLive() {
  document.documentElement.style.overflowAnchor = "none"; // the page itself keeps its place
  ask();
  setInterval(tellAge, 1000);
}

"use strict";
/* The search page: what is asked, the address that holds it, and the keys. */

const $ = (id) => document.getElementById(id);
const TITLES = { 401: "This server asks for an API key", 404: "Not there", 422: "This search cannot be done", 429: "The server is busy", 503: "The server is busy" };
const PATIENCE_MS = 300; // then nothing of another query stays on the screen
const WIDE = matchMedia("(min-width: 34.01rem)"); // where options and facets stand open
const EXAMPLES = 3;
const EXAMPLES_FROM = 48; // documents
let indexes = [];
let running = null;

async function ask(path, body, signal) {
  const headers = { accept: "application/json" };
  const key = sessionStorage.getItem("tamis-key");
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw { title: "The server does not answer", detail: "Is it still running? Try again." };
  }
  const answer = await response.text().then(parseJson).catch(() => null);
  if (response.ok && answer) return answer;
  throw answer && answer.detail ? answer : { title: `Status ${response.status}`, detail: "The answer could not be read." };
}

const sides = [new Side("A"), new Side("B")];
const comparing = () => $("compare").getAttribute("aria-pressed") === "true";
const shownSides = () => (comparing() ? sides : sides.slice(0, 1));

function setComparing(on) {
  $("compare").setAttribute("aria-pressed", String(on));
  document.body.classList.toggle("comparing", on);
  sides[1].node.hidden = !on;
}

/* The address holds the search. */
function readUrl() {
  const url = new URLSearchParams(location.search);
  $("query").value = url.get("q") || "";
  const k = url.get("k") || "10";
  if ([...$("k").options].some((option) => option.value === k)) $("k").value = k;
  setComparing(url.get("compare") === "1");
  sides[0].read(url, "");
  sides[1].read(url, "b.");
}

function writeUrl() {
  const url = new URLSearchParams();
  if ($("query").value.trim()) url.set("q", $("query").value.trim());
  if ($("k").value !== "10") url.set("k", $("k").value);
  sides[0].write(url, "");
  if (comparing()) {
    url.set("compare", "1");
    sides[1].write(url, "b.");
  }
  const next = url.size ? `?${url}` : location.pathname;
  if (next !== (location.search || location.pathname)) history.pushState(null, "", next);
}

function stateNode(kind, title, ...lines) {
  return make("div", { className: `state ${kind}` }, make("h2", {}, title), ...lines.map((line) => make("p", {}, line)));
}

function showState(kind, title, ...lines) {
  const node = stateNode(kind, title, ...lines);
  $("state").className = node.className;
  $("state").replaceChildren(...node.childNodes);
  $("state").hidden = false;
  $("results").hidden = true;
  $("live").textContent = "";
}

function problemLines(problem) {
  const detail = problem.detail || String(problem);
  return { title: TITLES[problem.status] || problem.title || "Something went wrong", detail: detail[0].toUpperCase() + detail.slice(1) };
}

function showError(problem) {
  if (problem.code === "unauthorized") { askForKey(); return; }
  const lines = problemLines(problem);
  showState("error", lines.title, lines.detail);
}

function askForKey() {
  const refused = sessionStorage.getItem("tamis-key") !== null;
  sessionStorage.removeItem("tamis-key");
  if (refused) showState("error", "This key is not accepted", "The server knows no such key. Look for a missing character, or ask for a new one.");
  else showState("", TITLES[401], "Whoever runs it gives keys out. Yours is kept in this tab alone.");
  $("state").append(keyForm());
  $("forget").hidden = true;
  $("state").querySelector("input").focus();
}

function keyForm() {
  const input = make("input", { type: "password", placeholder: "API key", autocomplete: "off" });
  input.setAttribute("aria-label", "API key");
  const form = make("form", { className: "key" }, input, make("button", { className: "primary", type: "submit" }, "Use"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim() === "") return;
    sessionStorage.setItem("tamis-key", input.value.trim());
    start();
  });
  return form;
}

/* An address may name an index that is not, or is no more, on this server. */
function showUnknown(side) {
  document.title = "Tamis";
  showState("error", `No index is called ${side.unknown}`, indexes.length ? "These are here:" : "This server has none.");
  const choices = indexes.map((index) => {
    const button = make("button", { type: "button", className: "toggle-button" }, index.name);
    button.addEventListener("click", () => { side.unknown = null; side.index.value = index.name; changed(); });
    return button;
  });
  $("state").append(make("p", { className: "examples" }, ...choices));
}

async function showWelcome() {
  const { about, path } = sides[0];
  document.title = "Tamis";
  if (!about) { showState("", "No index", "Start the server with at least one index: tamis serve INDEX"); return; }
  showState("", `Search ${about.documents.toLocaleString("en")} documents`, about.encoder
    ? "Every hit shows the terms that found it: the stemmed words and word pieces of the query, and those that the encoder read into the document."
    : "Every hit shows the stemmed words of the query that found it.");
  const heading = $("state").firstElementChild;
  const { hits } = await ask(`${path}/documents?k=${EXAMPLES_FROM}&fields=title,text`).catch(() => ({ hits: [] }));
  const found = [...new Set(hits.map((hit) => exampleOf(hit.document)).filter(Boolean))];
  if (!found.length || !heading.isConnected) return; // or something was asked meanwhile
  const step = Math.max(1, Math.floor(found.length / EXAMPLES));
  $("state").append(make("p", { className: "examples" }, "Try ", ...found.filter((_, at) => at % step === 0).slice(0, EXAMPLES).map((text) => {
    const button = make("button", { type: "button", className: "toggle-button", dir: "auto" }, text);
    button.addEventListener("click", () => { $("query").value = text; changed(); });
    return button;
  })));
}

/* What a document could be asked for by: its title where that is more than a name, or how it begins. */
function exampleOf({ title, text }) {
  const wordsOf = (from) => (typeof from === "string" ? from.replaceAll("_", " ").replace(/["*+]|(^|\s)-/g, " ").trim().split(/\s+/) : []).filter(Boolean);
  const [heading, words] = [wordsOf(title), wordsOf(text)];
  const chosen = (heading.length > 1 || !words.length ? heading : words).slice(0, 8).join(" ");
  return chosen.replace(/[\s.,;:!]+$/, "").slice(0, 70);
}

/* One search, or two in turn, so that neither takes the other's time. */
async function search() {
  const query = $("query").value.trim();
  if (running) running.abort();
  document.body.classList.remove("busy");
  describe();
  const unknown = shownSides().find((side) => side.unknown);
  if (unknown) { showUnknown(unknown); return; }
  if (!query || !sides[0].about) { showWelcome(); return; }
  running = new AbortController();
  const { signal } = running;
  const waiting = new Set(shownSides());
  document.title = `${query} · Tamis`;
  document.body.classList.add("busy");
  $("live").textContent = "Searching…";
  const patience = setTimeout(() => { if (!signal.aborted) showColumns(waiting); }, PATIENCE_MS);
  try {
    for (const side of [...waiting]) {
      await side.search(query, signal);
      waiting.delete(side);
      if (!waiting.size || $("results").hidden) showColumns(waiting);
    }
    summarise();
    showRequests(query);
  } catch (error) {
    if (error.name !== "AbortError") showError(error);
  } finally {
    clearTimeout(patience);
    if (!signal.aborted) document.body.classList.remove("busy");
  }
}

/* The columns as they are, placeholders in those whose answer is still to come. */
function showColumns(waiting) {
  for (const side of waiting) side.wait();
  if (waiting.size) $("summary").textContent = "Searching…";
  if (waiting.size) $("requests").replaceChildren();
  $("state").hidden = true;
  $("results").hidden = false;
  $("columns").replaceChildren(...shownSides().map((side) => side.column));
}

function summarise() {
  if (comparing()) {
    const shared = markMoves(sides[0].column, sides[1].column);
    const most = Math.max(...sides.map((side) => side.column.querySelectorAll("article").length));
    $("summary").replaceChildren(make("strong", {}, `${shared} of ${most} hits in both`));
  } else $("summary").replaceChildren(...sides[0].head);
  $("live").textContent = $("summary").textContent;
}

function showRequests(query) {
  const key = sessionStorage.getItem("tamis-key") ? " -H 'Authorization: Bearer KEY'" : "";
  $("request-title").textContent = comparing() ? "These searches as requests" : "This search as a request";
  $("requests").replaceChildren(...shownSides().map((side) => {
    const { path, body } = side.request(query);
    const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
    return make("pre", { tabIndex: 0 }, `curl${key} ${location.origin}${path} \\\n  -d '${quoted}'`);
  }));
}

function describe() {
  const about = shownSides().map((side) => side.about).filter(Boolean);
  for (const side of sides) side.show();
  const names = [...new Set(about.map((index) => {
    const encoder = index.encoder ? index.encoder.name : "words alone (BM25)";
    const count = (documents) => documents.toLocaleString("en");
    const left = index.awaiting ? `, by words alone until all are encoded (${count(index.encoded)} so far)` : "";
    return `${index.name}: ${count(index.documents)} documents, ${encoder}${left}`;
  }))];
  $("about").textContent = names.join(" · ");
  for (const item of document.querySelectorAll(".legend .learned")) item.hidden = !about.some((index) => index.encoder);
  $("forget").hidden = !sessionStorage.getItem("tamis-key");
  $("chosen").textContent = `: ${[...shownSides().map((side) => (comparing() ? `${side.letter} ${side.chosen || "as usual"}` : side.chosen)), `${$("k").value} hits`].filter(Boolean).join(" · ")}`;
}

function changed() { writeUrl(); search(); }

function toggleComparing() {
  if (!comparing()) {
    for (const name of ["index", ...CHOICES]) sides[1][name].value = sides[0][name].value;
    if (sides[0].rerank.value === "") sides[1].rerank.value = "50"; // the comparison asked for most
    else sides[1].rerank.value = "";
  }
  setComparing(!comparing());
  changed();
}

/* Keys: / to the box, arrows between hits, Enter for the whole document, c to compare, Escape back. */
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !typing) { event.preventDefault(); $("query").focus(); $("query").select(); return; }
  if (event.key === "c" && !typing) { toggleComparing(); return; }
  const hit = event.target.closest("article");
  if (event.key === "Escape" && hit) { $("query").focus(); return; }
  if (event.key === "Enter" && event.target === hit) { hit.querySelector(".toggle")?.click(); return; }
  move(event, hit, typing);
});

function move(event, hit, typing) {
  if (typing && event.target !== $("query")) return;
  if (!hit && event.target !== $("query") && event.target !== document.body) return;
  const columns = [...document.querySelectorAll(".column")].map((column) => [...column.querySelectorAll("article")]);
  const at = columns.findIndex((hits) => hits.includes(hit));
  const rank = hit ? columns[at].indexOf(hit) : -1;
  const down = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const across = hit && { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!down && !across) return;
  if (!hit && down < 0) return;
  let next = null;
  if (down && rank + down < 0) next = $("query");
  else if (down) next = columns[Math.max(at, 0)]?.[rank + down];
  else next = columns[at + across]?.[Math.min(rank, columns[at + across].length - 1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/* How the query may go on, asked when typing pauses. */
let pause = null;
async function suggest() {
  const query = $("query").value;
  const name = sides[0].index.value;
  if (!name || !query.trim()) return;
  const path = `/v1/indexes/${encodeURIComponent(name)}/suggest?q=${encodeURIComponent(query)}&size=8`;
  const { suggestions } = await ask(path).catch(() => ({ suggestions: [] })); // an index without words has none
  if ($("query").value !== query) return;
  $("suggestions").replaceChildren(...suggestions.map(({ text }) => make("option", { value: text })));
}
$("query").addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(suggest, 150); });

$("form").addEventListener("submit", (event) => { event.preventDefault(); changed(); });
$("k").addEventListener("change", changed);
$("compare").addEventListener("click", toggleComparing);
$("forget").addEventListener("click", () => { sessionStorage.removeItem("tamis-key"); start(); });
const unfold = () => { $("options").open = WIDE.matches; };
WIDE.addEventListener("change", unfold);
unfold();
window.addEventListener("popstate", () => { readUrl(); search(); });

async function start() {
  try {
    indexes = (await ask("/v1/indexes")).indexes;
  } catch (error) {
    readUrl();
    describe();
    showError(error);
    return;
  }
  for (const side of sides) side.offer();
  readUrl();
  if (!matchMedia("(pointer: coarse)").matches) $("query").focus();
  search();
}
start();

"use strict";
/* The search page: what is asked, the address that holds it, and the keys. */

const $ = (id) => document.getElementById(id);
const TITLES = { 401: "This server asks for an API key", 404: "Not there", 422: "This search cannot be done", 429: "The server is busy", 503: "The server is busy" };
const CHOICES = ["recall", "weight", "rerank", "filter"];
const ROOM = { one: 8, two: 4 }; // terms of a hit that are shown at first
const MOST_FACETS = 8;
const FACET_VALUES = 10; // a field with more values, such as one of ids, is no facet to choose from
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
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw answer && answer.detail ? answer : { title: `Status ${response.status}`, detail: "The answer could not be read." };
}

/* "year >= 1999, language = en fr" as the API takes it; text that begins with { is JSON already. */
function parseFilter(text, fields) {
  const refuse = (detail) => { throw { status: 422, detail }; };
  if (text.trim().startsWith("{")) {
    try { return JSON.parse(text); } catch { refuse("expected the filter as JSON, found a mistake in it"); }
  }
  const parts = { "=": "in", "!=": "in", ">=": "gte", ">": "gt", "<=": "lte", "<": "lt" };
  const filter = { must: [], must_not: [] };
  for (const clause of text.split(",").filter((part) => part.trim())) {
    const [, field, sign, rest] = clause.match(/^\s*(\S+?)\s*(!=|>=|<=|=|>|<)\s*(.+?)\s*$/) ?? refuse(`expected a filter such as year >= 1999, found ${clause.trim()}`);
    if (!Object.hasOwn(fields, field)) refuse(`expected a filter by one of ${Object.keys(fields).join(", ")}, found ${field}`);
    const isNumber = ["integer", "float"].includes(fields[field]);
    const values = rest.split(/\s+/).map((value) => (isNumber && value !== "" && Number.isFinite(Number(value)) ? Number(value) : value));
    const condition = parts[sign] === "in" ? { field, in: values } : { field, range: { [parts[sign]]: values[0] } };
    filter[sign === "!=" ? "must_not" : "must"].push(condition);
  }
  return filter;
}

/* A side: one way to search. The first is always there, the second when comparing. */
class Side {
  constructor(letter) {
    this.letter = letter;
    this.node = $("side").content.cloneNode(true).firstElementChild;
    this.column = make("section", { className: "column" });
    this.column.setAttribute("aria-label", `Hits of ${letter}`);
    for (const name of [...CHOICES, "index"]) {
      this[name] = this.node.querySelector(`.${name}`);
      this[name].addEventListener("change", () => changed());
    }
    this.node.querySelector(".letter").textContent = letter;
    $("sides").append(this.node);
  }

  get about() { return indexes.find((index) => index.name === this.index.value); }

  offer() {
    this.index.replaceChildren(...indexes.map((index) => make("option", { value: index.name }, index.name)));
    this.node.querySelector(".for-index").hidden = indexes.length < 2;
  }

  show() { // what this index can do
    const about = this.about;
    this.hasWeight = Boolean(about && about.lexical && about.encoder);
    this.node.querySelector(".for-weight").classList.toggle("unfit", !this.hasWeight);
    const fields = Object.entries((about && about.fields) || {});
    this.hasFilter = fields.length > 0;
    this.filter.title = fields.map(([name, kind]) => `${name}: ${kind}`).join("\n");
    this.node.querySelector(".for-filter").classList.toggle("unfit", !this.hasFilter);
  }

  read(url, prefix) {
    const choose = (select, value) => { if ([...select.options].some((option) => option.value === value)) select.value = value; };
    choose(this.index, url.get(`${prefix}index`) ?? indexes[0]?.name);
    choose(this.recall, url.get(`${prefix}recall`) ?? "");
    choose(this.rerank, url.get(`${prefix}rerank`) ?? "");
    const weight = url.get(`${prefix}weight`) ?? "";
    this.weight.value = Number.isFinite(Number(weight)) ? weight : "";
    this.filter.value = url.get(`${prefix}filter`) ?? "";
  }

  write(url, prefix) {
    if (indexes.length > 1) url.set(`${prefix}index`, this.index.value);
    for (const name of CHOICES) if (this[name].value.trim() !== "") url.set(prefix + name, this[name].value.trim());
  }

  request(query) {
    const body = { query, k: Number($("k").value), explain: true, highlight: true };
    Object.assign(body, { syntax: "operators", typos: "auto" });
    if (this.recall.value === "exact") body.exact = true;
    else if (this.recall.value) body.recall = Number(this.recall.value);
    if (this.weight.value !== "" && this.hasWeight) body.lexical_weight = Number(this.weight.value);
    if (this.about && this.about.chunk) body.group_by = "parent"; // a document once, with its best passages
    if (this.rerank.value) body.rerank = { depth: Number(this.rerank.value) };
    body.count = this.about && this.about.lexical ? "words" : "filter";
    if (this.about) body.facets = Object.keys(this.about.fields).slice(0, MOST_FACETS).map((field) => ({ field, limit: FACET_VALUES }));
    if (this.hasFilter && this.filter.value.trim()) body.filter = parseFilter(this.filter.value, this.about.fields);
    return { path: `/v1/indexes/${encodeURIComponent(this.index.value)}/search`, body };
  }

  narrow(field, value) { // by a value of a facet, beside what the filter asks for already
    const wanted = { field, eq: value };
    const given = this.filter.value.trim();
    this.filter.value = JSON.stringify(given ? { must: [parseFilter(given, this.about.fields), wanted] } : wanted);
    changed();
  }

  async search(query, signal) {
    try {
      const { path, body } = this.request(query);
      const began = performance.now();
      const answer = await ask(path, body, signal);
      this.fill(answer, performance.now() - began, Boolean(body.rerank));
      return answer.hits.length;
    } catch (error) {
      if (error.name === "AbortError" || error.code === "unauthorized" || !comparing()) throw error;
      const lines = problemLines(error);
      this.column.replaceChildren(stateNode("error", lines.title, lines.detail));
      return 0;
    }
  }

  fill(answer, roundTrip, reranked) {
    const head = columnHead(comparing() ? this.letter : "", answer, roundTrip);
    this.column.replaceChildren();
    (comparing() ? this.column : $("summary")).replaceChildren(head, ...understoodNodes(answer));
    this.column.append(...facetNodes(answer, (field, value) => this.narrow(field, value)));
    if (!answer.hits.length) {
      this.column.append(stateNode("", "Nothing found", "No document shares a term with this query. Try other or fewer words."));
      return;
    }
    const widest = Math.max(...answer.hits.flatMap((hit) => hit.matched_terms.map((term) => term.contribution)));
    const options = { widest, reranked, shownTerms: comparing() ? ROOM.two : ROOM.one };
    this.column.append(...answer.hits.map((hit) => hitNode(hit, options)));
  }
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
}

function problemLines(problem) {
  const detail = problem.detail || String(problem);
  return { title: TITLES[problem.status] || problem.title || "Something went wrong", detail: detail[0].toUpperCase() + detail.slice(1) };
}

function showError(problem) {
  const lines = problemLines(problem);
  showState("error", lines.title, lines.detail);
  if (problem.code === "unauthorized") $("state").append(keyForm());
}

function keyForm() {
  const input = make("input", { type: "password", placeholder: "API key", autocomplete: "off" });
  input.setAttribute("aria-label", "API key");
  const form = make("form", { className: "key" }, input, make("button", { className: "primary", type: "submit" }, "Use"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("tamis-key", input.value.trim());
    start();
  });
  return form;
}

function showWelcome() {
  const index = sides[0].about;
  document.title = "Tamis";
  if (!index) showState("", "No index", "Start the server with at least one index: tamis serve INDEX");
  else {
    showState("", `Search ${index.documents.toLocaleString("en")} documents`, index.encoder
      ? "Every hit shows the terms that found it: the stemmed words and word pieces of the query, and those that the encoder read into the document."
      : "Every hit shows the stemmed words of the query that found it.");
  }
}

/* One search, or two in turn, so that neither takes the other's time. */
async function search() {
  const query = $("query").value.trim();
  if (running) running.abort();
  describe();
  if (!query || !sides[0].about) return showWelcome();
  running = new AbortController();
  const { signal } = running;
  document.title = `${query} · Tamis`;
  document.body.classList.add("busy");
  try {
    for (const side of shownSides()) await side.search(query, signal);
    $("state").hidden = true;
    $("results").hidden = false;
    $("columns").replaceChildren(...shownSides().map((side) => side.column));
    summarise();
    showRequests(query);
  } catch (error) {
    if (error.name !== "AbortError") showError(error);
  } finally {
    if (!signal.aborted) document.body.classList.remove("busy");
  }
}

function summarise() {
  if (!comparing()) return;
  const shared = markMoves(sides[0].column, sides[1].column);
  const most = Math.max(...sides.map((side) => side.column.querySelectorAll("article").length));
  $("summary").replaceChildren(make("strong", {}, `${shared} of ${most} hits in both`));
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

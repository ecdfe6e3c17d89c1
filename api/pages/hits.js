"use strict";
/* Hits as nodes. Everything a document holds becomes text, never markup. */

const number = (value, digits = 2) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const CHOSEN = 3; // fields under the title
const SHORT = 40; // characters of one
const STAGES = ["encode", "retrieve", "fetch", "rerank", "answer"];

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
}

/* The head of a column: how many hits. */
function columnHead(letter, answer) {
  const count = answer.hits.length;
  return make("div", { className: "column-head" },
    letter ? make("span", { className: "letter" }, letter) : null,
    make("strong", {}, count ? `${count} ${count === 1 ? "hit" : "hits"}${matches(count, answer.total)}` : "No hits"),
    answer.awaiting ? " (some by words alone as yet)" : null,
    ` in ${number(answer.took_ms, 1)} ms`);
}

/* Where the time went. */
function timesNode(answer, roundTrip) {
  const times = stageTimes(answer);
  return make("p", { className: "times" }, "Milliseconds: ", stageBar(times), stageList(times, roundTrip));
}

/* What the query was taken to mean, where that is more than its words. */
function understoodNodes({ understood, corrections, why }) {
  const lines = corrections.map(({ from, to }) => `Showing results for ${to}: no document has ${from}`);
  if (understood) {
    const said = [["in order", understood.phrases.map((phrase) => `"${phrase}"`)], ["with", understood.must], ["without", understood.must_not],
      ["beginning", understood.prefixes.map(({ prefix, words, used }) => `${prefix}* (${words} words, ranked by ${used})`)],
      ["left out", understood.left_out], ["also", understood.also.map(({ from, to }) => `${to} for ${from}`)]];
    for (const [what, words] of said) if (words.length) lines.push(`${what}: ${words.join(", ")}`);
    lines.push(...understood.notes);
  }
  if (why) lines.push(`in turn by rank: ${why}`);
  return lines.map((line) => make("p", { className: "understood", dir: "auto" }, line));
}

/* Hits that learned terms alone found are beyond those that hold a word of the query. */
function matches(count, total) {
  if (!total) return "";
  if (total.value < count) return `, ${number(total.value, 0)} with words of the query`;
  return ` of ${total.relation === "exact" ? "" : "at least "}${number(total.value, 0)} ${total.value === 1 ? "match" : "matches"}`;
}

/* Facets with few values, each value a button that filters by it. */
function facetNodes({ facets, facets_cut: cut }, choose) {
  const few = Object.entries(facets ?? {}).filter(([field, values]) => values.length > 1 && !(field in cut));
  if (!few.length) return [];
  return [make("details", { className: "facets", open: WIDE.matches }, make("summary", {}, "Narrow by ", make("span", { className: "of" }, few.map(([field]) => field).join(", "))), ...few.map(([field, values]) => make("p", {}, make("bdi", {}, `${field}: `),
    ...values.flatMap(({ value, count }) => {
      const button = make("button", { type: "button", className: "plain" }, make("bdi", {}, written(value)), ` ${number(count, 0)}`);
      button.addEventListener("click", () => choose(field, value));
      return [button, " "];
    }))))];
}

/* Milliseconds by stage; the last one marks words and writes the answer. */
function stageTimes({ timings, took_ms: took }) {
  if (!timings) return [["answer", took]];
  const known = STAGES.slice(0, -1).map((stage) => [stage, timings[`${stage}_ms`]]);
  const sum = known.reduce((total, [, ms]) => total + ms, 0);
  return [...known, ["answer", Math.max(0, took - sum)]].filter(([stage, ms]) => stage !== "rerank" || ms > 0);
}

function stageBar(times) {
  const bar = make("span", { className: "stage-bar" });
  bar.setAttribute("aria-hidden", "true");
  for (const [stage, ms] of times) {
    const part = make("span", { className: `stage-${stage}`, title: `${stage} ${number(ms)} ms` });
    part.style.flexGrow = ms;
    bar.append(part);
  }
  return bar;
}

function stageList(times, roundTrip) {
  const list = make("span", { className: "stages" });
  for (const [stage, ms] of times) {
    list.append(make("span", {}, make("i", { className: `dot stage-${stage}` }), `${stage} ${number(ms, ms < 10 ? 2 : 0)}`), " ");
  }
  list.append(make("span", {}, `round trip ${number(roundTrip, 0)}`));
  return list;
}

/* One hit. `options`: widest contribution of the list, terms to show, whether it was reranked, declared fields. */
function hitNode(hit, options) {
  const { title, text, _id, ...fields } = hit.document;
  const marked = hit.highlights;
  const heading = make("h2", { dir: "auto" }, linked(fields.url, marked.title ? spans(marked.title) : [title || hit.id]));
  const meta = make("div", { className: "meta" },
    make("span", { className: "rank" }, `#${hit.rank}`), make("span", {}, `score ${number(hit.score, 3)}`),
    make("code", {}, make("bdi", {}, keyOf(hit))), ...chosenFields(fields, options.declared));
  const snippet = make("p", { dir: "auto" }, ...(marked.text ? spans(marked.text) : [text || ""]));
  const left = make("div", {}, heading, meta, snippet, wholeDocument(snippet, text || "", fields, marked.text || []), otherPassages(hit));
  const node = make("article", { className: "hit", tabIndex: -1 }, left, termTable(hit, options));
  node.dataset.id = keyOf(hit);
  node.setAttribute("aria-label", `Hit ${hit.rank}: ${title || hit.id}`);
  return node;
}

/* Ids of several indexes may be the same. */
const keyOf = ({ index, id }) => (index ? `${index}: ${id}` : id);

/* A link only where the address is one of the web: a document may hold any text. */
function linked(url, nodes) {
  const isWeb = typeof url === "string" && /^https?:\/\//i.test(url) && URL.canParse(url);
  return isWeb ? make("a", { href: url, rel: "noopener noreferrer" }, ...nodes) : make("span", {}, ...nodes);
}

/* A few short fields that tell hits apart, declared ones first. */
function chosenFields(fields, declared) {
  const dotted = (name) => name.split(".").reduce((value, part) => value?.[part], fields);
  const names = [...new Set([...Object.keys(declared), ...Object.keys(fields)])].filter((name) => name !== "url");
  const short = (value) => (Array.isArray(value) ? value.map(written).join(", ") : value === null || value === undefined || (typeof value === "object" && !("rawJSON" in value)) ? "" : written(value));
  const found = names.map((name) => [name, short(fields[name] ?? dotted(name))]).filter(([, value]) => value !== "" && value.length <= SHORT);
  return found.slice(0, CHOSEN).map(([name, value]) => make("span", { className: "chosen" }, make("bdi", {}, name), " ", make("bdi", {}, value)));
}

/* The other passages of the same document, best first. */
function otherPassages(hit) {
  const others = (hit.passages || []).slice(1);
  if (!others.length) return null;
  return make("ul", { className: "passages" }, ...others.map((passage) => make("li", { dir: "auto" },
    make("strong", {}, make("bdi", {}, passage.document.title || passage.id)), " ", ...spans(passage.highlights.text || []))));
}

function spans(list) {
  return list.map((span) => (span.match ? make("mark", {}, span.text) : span.text));
}

function wholeDocument(snippet, text, fields, shown) {
  const cut = shown.some((span) => span.text === "…" && !span.match);
  if (!cut && !Object.keys(fields).length) return null;
  const brief = [...snippet.childNodes];
  const list = make("dl", { className: "fields", hidden: true });
  for (const [name, value] of Object.entries(fields)) {
    list.append(make("dt", {}, make("bdi", {}, name)), make("dd", { dir: "auto" }, written(value)));
  }
  const button = make("button", { type: "button", className: "plain toggle" }, "Whole document");
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    button.textContent = open ? "Whole document" : "Less";
    snippet.classList.toggle("whole", !open);
    if (open) snippet.replaceChildren(...brief);
    else if (cut) snippet.replaceChildren(...marksInText(text, shown));
    list.hidden = open;
  });
  return make("div", {}, list, button);
}

/* The whole text, with the words marked that the snippet marks. */
function marksInText(text, shown) {
  const words = new Set(shown.filter((span) => span.match).map((span) => span.text.toLowerCase()));
  return text.split(/([\p{L}\p{N}\p{M}_]+)/u).map((part) => (words.has(part.toLowerCase()) ? make("mark", {}, part) : part));
}

/* The terms of a hit, as a table that is also a bar chart. */
function termTable(hit, { widest, shownTerms, reranked }) {
  const terms = hit.matched_terms;
  const extra = terms.length - shownTerms > 1 ? terms.slice(shownTerms) : [];
  const rows = terms.slice(0, terms.length - extra.length).map((term) => termRow(term, widest));
  const body = make("tbody", {}, ...rows);
  if (extra.length) body.append(restRow(extra, widest));
  const sum = terms.reduce((total, term) => total + term.contribution, 0);
  body.append(make("tr", { className: "sum" },
    make("td", { className: "term" }, reranked ? "first stage" : hit.index ? "in its index" : "score"), make("td"),
    make("td", { className: "value" }, number(sum))));
  const caption = make("caption", { className: "visually-hidden" }, "Terms that make up the score");
  return make("table", { className: "terms" }, caption, body);
}

function kindOf(term) {
  if (term.expansion) return "expansion";
  return /^=[^=]/.test(term.term) ? "word" : "piece";
}

function termRow(term, widest) {
  const kind = kindOf(term);
  const sign = kind === "expansion" ? "+" : "";
  const fill = make("span", { className: `fill ${kind}` });
  fill.style.width = `${(100 * term.contribution) / widest}%`;
  fill.append(make("span", { className: "visually-hidden" }, kind));
  const factors = `${number(term.query_weight, 3)} in the query × ${number(term.doc_weight, 3)} in the document`;
  return make("tr", { title: `${sign}${term.term}: ${factors}` },
    make("td", { className: "term" }, sign, make("bdi", {}, term.term)),
    make("td", {}, make("span", { className: "track" }, fill)),
    make("td", { className: "value" }, number(term.contribution)));
}

function restRow(extra, widest) {
  const total = extra.reduce((sum, term) => sum + term.contribution, 0);
  const button = make("button", { type: "button", className: "plain" }, `${extra.length} more`);
  const row = make("tr", { className: "rest" }, make("td", { className: "term" }, button), make("td"),
    make("td", { className: "value" }, number(total)));
  button.addEventListener("click", () => row.replaceWith(...extra.map((term) => termRow(term, widest))));
  return row;
}

/* Say in each column where the other one has the same document. */
function markMoves(first, second) {
  for (const node of document.querySelectorAll(".move")) node.remove();
  const place = (column) => new Map([...column.querySelectorAll("article")].map((node, at) => [node.dataset.id, { node, rank: at + 1 }]));
  const left = place(first);
  const right = place(second);
  for (const [id, { node }] of left) {
    if (!right.has(id)) addMove(node, "alone", "only in A");
  }
  for (const [id, { node, rank }] of right) {
    const before = left.get(id);
    if (!before) addMove(node, "alone", "only in B");
    else if (before.rank > rank) addMove(node, "up", `▲ ${before.rank - rank}`, `from #${before.rank} in A`);
    else if (before.rank < rank) addMove(node, "down", `▼ ${rank - before.rank}`, `from #${before.rank} in A`);
    if (before) linkTwins(before.node, node);
  }
  return [...left.keys()].filter((id) => right.has(id)).length;
}

function addMove(node, kind, text, title = "") {
  node.querySelector(".rank").after(make("span", { className: `move ${kind}`, title }, text));
}

function linkTwins(one, other) {
  for (const [node, twin] of [[one, other], [other, one]]) {
    for (const event of ["pointerenter", "focus"]) node.addEventListener(event, () => twin.classList.add("twin"));
    for (const event of ["pointerleave", "blur"]) node.addEventListener(event, () => twin.classList.remove("twin"));
  }
}

"use strict";
/* A side: one way to search, its column of hits, and what it says while it waits. */

const CHOICES = ["recall", "weight", "rerank", "filter", "boost"];
const ALL = "*"; // stands for all indexes
const ROOM = { one: 8, two: 4 }; // terms of a hit that are shown at first
const MOST_FACETS = 8;
const FACET_VALUES = 10; // a field with more values, such as one of ids, is no facet to choose from
const OFFERED_VALUES = 50; // of a field, to build a filter from
const PLACEHOLDERS = 3;

class Side {
  constructor(letter) {
    this.letter = letter;
    this.node = $("side").content.cloneNode(true).firstElementChild;
    this.column = make("section", { className: "column" });
    this.column.setAttribute("aria-label", `Hits of ${letter}`);
    for (const name of [...CHOICES, "index"]) {
      this[name] = this.node.querySelector(`.${name}`);
      this[name].addEventListener("change", () => { if (name === "index") this.unknown = null; changed(); });
    }
    this.build = this.node.querySelector(".build");
    this.builder = this.node.querySelector(".builder");
    this.build.addEventListener("click", () => this.openBuilder(this.builder.hidden));
    this.node.querySelector(".letter").textContent = letter;
    $("sides").append(this.node);
  }

  get about() { return this.unknown ? undefined : this.all ? everyIndex() : indexes.find((index) => index.name === this.index.value); }

  get all() { return this.index.value === ALL; }

  get path() { return this.all ? "/v1" : `/v1/indexes/${encodeURIComponent(this.index.value)}`; }

  offer() {
    this.index.replaceChildren(...indexes.map((index) => make("option", { value: index.name }, index.name)));
    if (indexes.length > 1) this.index.append(make("option", { value: ALL }, "all"));
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
    if (this.builtFor !== this.index.value) this.openBuilder(false);
  }

  openBuilder(open) {
    this.builtFor = this.index.value;
    this.build.setAttribute("aria-expanded", String(open));
    this.builder.hidden = !open;
    this.builder.replaceChildren(...(open ? builderNodes(this.about.fields, (field) => this.valuesOf(field), (...clause) => this.narrow(...clause)) : []));
    if (open) this.builder.querySelector("select").focus();
  }

  async valuesOf(field) {
    const facets = [{ field, limit: OFFERED_VALUES }];
    const answer = await ask(`${this.path}/search`, { k: 1, fields: [], facets }).catch(() => null);
    return (answer?.facets?.[field] ?? []).map(({ value }) => value);
  }

  read(url, prefix) {
    const choose = (select, value) => { if ([...select.options].some((option) => option.value === value)) select.value = value; };
    const name = url.get(`${prefix}index`) ?? indexes[0]?.name;
    const found = name === ALL && indexes[1] ? everyIndex() : indexes.find((index) => index.name === name || index.aliases.includes(name));
    this.unknown = name === undefined || found ? null : name;
    choose(this.index, found?.name);
    choose(this.recall, url.get(`${prefix}recall`) ?? "");
    choose(this.rerank, url.get(`${prefix}rerank`) ?? "");
    const weight = url.get(`${prefix}weight`) ?? "";
    this.weight.value = Number.isFinite(Number(weight)) ? weight : "";
    for (const text of ["filter", "boost"]) this[text].value = url.get(prefix + text) ?? "";
  }

  write(url, prefix) {
    if (indexes.length > 1) url.set(`${prefix}index`, this.unknown ?? this.index.value);
    for (const name of CHOICES) if (this[name].value.trim() !== "") url.set(prefix + name, this[name].value.trim());
  }

  get chosen() { // what is set, for a screen that folds the options
    const picked = (select) => select.selectedOptions[0].textContent;
    return [
      indexes.length > 1 ? this.unknown ?? this.index.value : "",
      this.recall.value && (this.recall.value === "exact" ? "exact" : `accuracy ${picked(this.recall)}`),
      this.hasWeight && this.weight.value !== "" ? `words × ${this.weight.value}` : "",
      this.rerank.value && `rerank ${picked(this.rerank)}`,
      this.hasFilter ? this.filter.value.trim() : "",
      this.hasFilter ? this.boost.value.trim() : "",
    ].filter(Boolean).join(", ");
  }

  request(query, offset = 0) {
    const body = { query, k: Number($("k").value), explain: true, highlight: true };
    Object.assign(body, { syntax: "operators", typos: "auto" });
    if (offset) body.offset = offset;
    if (this.recall.value === "exact") body.exact = true;
    else if (this.recall.value) body.recall = Number(this.recall.value);
    if (this.weight.value !== "" && this.hasWeight) body.lexical_weight = Number(this.weight.value);
    if (this.about && this.about.chunk) body.group_by = "parent"; // a document once, with its best passages
    if (this.rerank.value) body.rerank = { depth: Number(this.rerank.value) };
    body.count = this.about && this.about.lexical ? "words" : "filter";
    if (this.about) body.facets = Object.keys(this.about.fields).slice(0, MOST_FACETS).map((field) => ({ field, limit: FACET_VALUES }));
    if (this.hasFilter && this.filter.value.trim()) body.filter = parseFilter(this.filter.value, this.about.fields);
    if (this.hasFilter && this.boost.value.trim()) body.boosts = parseBoosts(this.boost.value);
    if (this.all) body.indexes = indexes.map(({ name }) => name);
    return { path: `${this.path}/search`, body };
  }

  narrow(field, sign, value) { // beside what the filter asks for already
    try { this.filter.value = withClause(this.filter.value, field, sign, value, this.about.fields); } catch (error) { showError(error); return; }
    changed();
  }

  wait() {
    const bone = (width) => make("span", { className: `bone ${width}` });
    const hit = () => make("div", { className: "hit" }, make("div", {}, bone("half"), bone("third"), bone("full"), bone("most")), make("div", {}, bone("most"), bone("half"), bone("third")));
    const bones = make("div", {}, ...Array.from({ length: PLACEHOLDERS }, hit));
    bones.setAttribute("aria-hidden", "true");
    this.column.replaceChildren(...(comparing() ? [make("div", { className: "column-head" }, make("span", { className: "letter" }, this.letter))] : []), bones);
  }

  async search(query, signal) {
    try {
      const { path, body } = this.request(query);
      const began = performance.now();
      const answer = await ask(path, body, signal);
      const roundTrip = performance.now() - began;
      if (this.all) Object.assign(answer, ofFirst(answer));
      const unfiltered = answer.hits.length || !body.filter ? null : await this.unfiltered(body, signal);
      this.fill({ query, body, answer, roundTrip, unfiltered });
    } catch (error) {
      if (error.name === "AbortError" || error.code === "unauthorized" || !comparing()) throw error;
      const lines = problemLines(error);
      this.column.replaceChildren(stateNode("error", lines.title, lines.detail));
    }
  }

  async unfiltered({ query, syntax, typos, count }, signal) { // how many a filter keeps out
    const { hits, total } = await ask(`${this.path}/search`, { query, syntax, typos, count, k: 1, fields: [] }, signal);
    return hits.length ? total : null;
  }

  fill({ query, body, answer, roundTrip, unfiltered }) {
    this.head = [columnHead(comparing() ? this.letter : "", answer), ...understoodNodes(answer)];
    this.column.replaceChildren(...(comparing() ? this.head : []));
    this.column.append(...facetNodes(answer, (field, value) => this.narrow(field, "=", written(value))));
    if (!answer.hits.length) this.column.append(this.nothing(unfiltered));
    else {
      this.widest = Math.max(...answer.hits.flatMap((hit) => hit.matched_terms.map((term) => term.contribution)));
      this.column.append(make("div", { className: "hits" }, ...this.nodes(answer.hits)));
      if (answer.hits.length === body.k) this.column.append(this.more(query));
    }
    this.column.append(timesNode(answer, roundTrip));
  }

  nodes(hits) {
    const options = { widest: this.widest, reranked: this.rerank.value !== "", shownTerms: comparing() ? ROOM.two : ROOM.one, declared: this.about.fields };
    return hits.map((hit) => hitNode(hit, options));
  }

  nothing(unfiltered) {
    if (!unfiltered) return stateNode("", "Nothing found", "No document shares a term with this query. Try other or fewer words.");
    const some = `${unfiltered.relation === "exact" ? "" : "at least "}${number(unfiltered.value, 0)} ${unfiltered.value === 1 ? "document" : "documents"}`;
    const node = stateNode("", "The filter excludes everything", `Without it the query finds ${some}.`);
    const button = make("button", { type: "button", className: "toggle-button" }, "Search without the filter");
    button.addEventListener("click", () => { this.filter.value = ""; changed(); });
    node.append(button);
    return node;
  }

  more(query) {
    const button = make("button", { type: "button", className: "toggle-button more" }, "More");
    let offset = Number($("k").value);
    button.addEventListener("click", async () => {
      button.disabled = true;
      const { signal } = running;
      try {
        const { path, body } = this.request(query, offset);
        const { hits } = await ask(path, body, signal);
        const known = new Set([...this.column.querySelectorAll("article")].map((node) => node.dataset.id));
        const nodes = this.nodes(hits.filter((hit) => !known.has(keyOf(hit)))); // the index may have changed between
        this.column.querySelector(".hits").append(...nodes);
        offset += body.k;
        if (hits.length < body.k) button.remove();
        nodes[0]?.focus();
        $("live").textContent = hits.length ? `${nodes.length} more hits` : "No more hits";
        summarise();
      } catch (error) {
        if (error.name !== "AbortError") button.replaceWith(stateNode("error", problemLines(error).title, problemLines(error).detail));
      }
      button.disabled = false;
    });
    return button;
  }
}

/* What all indexes are together; their fields may differ, so that there are none. */
function everyIndex() {
  const [{ encoder }] = indexes;
  const documents = indexes.reduce((sum, index) => sum + index.documents, 0);
  return { name: ALL, documents, encoder, fields: {}, lexical: indexes.every((index) => index.lexical), chunk: indexes.every((index) => index.chunk) };
}

/* What one index would say of itself, of several: operators mean the same in all of them. */
function ofFirst({ indexes: shares }) {
  const corrections = new Map(shares.flatMap((share) => share.corrections).map((one) => [one.from + one.to, one]));
  return { understood: shares[0].understood, corrections: [...corrections.values()] };
}

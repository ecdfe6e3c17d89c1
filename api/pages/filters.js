"use strict";
/* A filter as people write it, "year >= 1999, brand = acme", as the API takes it, and the form that writes it. */

const QUOTED = String.raw`"(?:[^"\\]|\\.)*"`;
const CLAUSE = new RegExp(String.raw`\s*(${QUOTED}|[^\s"=!<>^,]+)\s*(!=|>=|<=|\^=|=|>|<)\s*((?:${QUOTED}|[^",])+?)\s*(?:,|$)`, "y");
const VALUE = new RegExp(`${QUOTED}|[^\\s"]+`, "g");
const BOUNDS = { ">=": "gte", ">": "gt", "<=": "lte", "<": "lt" };
const SIGNS = { "=": "is", "!=": "is not", ">=": "at least", ">": "above", "<=": "at most", "<": "below", "^=": "begins with", "= *": "is there", "!= *": "is missing" };

/* Whole numbers that no double holds stay as they were written. */
const isExact = (text) => !/^-?\d{16,}$/.test(text) || Number.isSafeInteger(Number(text));
const exactNumber = (text) => (isExact(text) || !JSON.rawJSON ? Number(text) : JSON.rawJSON(text));
const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function parseJson(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (name, value, context) => (typeof value === "number" && context ? (isExact(context.source) ? value : exactNumber(context.source)) : value));
}

const refuse = (detail) => { throw { status: 422, detail }; };
const bare = (text) => (text.startsWith('"') ? JSON.parse(text) : text);
const quoted = (text) => (/^[^\s",*=!<>^]+$/.test(text) ? text : JSON.stringify(text));

/* Text that begins with { is JSON already. `fields`: types by name. */
function parseFilter(text, fields) {
  if (text.trim().startsWith("{")) {
    try { return parseJson(text); } catch { refuse("expected the filter as JSON, found a mistake in it"); }
  }
  const filter = { must: [], must_not: [] };
  CLAUSE.lastIndex = 0;
  for (let at = 0; text.slice(at).trim(); at = CLAUSE.lastIndex) {
    const found = CLAUSE.exec(text) ?? refuse(`expected a filter such as year >= 1999, found ${text.slice(at).trim()}`);
    try {
      addClause(filter, bare(found[1]), found[2], found[3].match(VALUE), fields);
    } catch (error) {
      throw error.detail ? error : { status: 422, detail: `expected text in double quotes, found ${found[0].trim()}` };
    }
  }
  return filter;
}

function addClause(filter, field, sign, values, fields) {
  if (!Object.hasOwn(fields, field)) refuse(`expected a filter by one of ${Object.keys(fields).join(", ")}, found ${field}`);
  const given = values.map((value) => literal(value, fields[field]));
  const joined = filter[sign === "!=" ? "must_not" : "must"];
  if (sign in BOUNDS) joined.push({ field, range: { [BOUNDS[sign]]: given[0] } });
  else if (sign === "^=") joined.push({ field, prefix: bare(values[0]) });
  else joined.push(values.join() === "*" ? { field, exists: true } : { field, in: given });
}

function literal(text, type) {
  const kind = type.replace("[]", "");
  if (kind === "boolean" && /^(true|false)$/.test(text)) return text === "true";
  const isNumber = ["integer", "float"].includes(kind) && Number.isFinite(Number(text));
  return isNumber ? exactNumber(text) : bare(text);
}

/* A field, its way, the number of that, and a weight; by commas. */
const parseBoosts = (text) => text.split(",").map((one) => {
  const [field, way, size, weight = 1] = one.trim().split(/\s+/);
  if (!["recency", "saturation", "log"].includes(way)) refuse(`expected a boost such as published recency 30 2, found ${one}`);
  return { field, weight: Number(weight), [way]: way === "recency" ? { half_life_days: Number(size) } : Number(size) };
});

/* What a filter says beside a further condition; JSON stays JSON. */
function withClause(text, field, sign, value, fields) {
  const clause = `${quoted(field)} ${sign}${value === "" ? "" : ` ${quoted(value)}`}`;
  const given = text.trim().replace(/,$/, "");
  if (!given.startsWith("{")) return given ? `${given}, ${clause}` : clause;
  return JSON.stringify({ must: [parseFilter(given, fields), parseFilter(clause, fields)] });
}

/* The signs that a type of field knows. */
function signsOf(type) {
  const kind = type.replace("[]", "");
  if (kind === "boolean") return ["=", "= *", "!= *"];
  return ["=", "!=", ...(kind === "string" ? ["^="] : Object.keys(BOUNDS)), "= *", "!= *"];
}

/* A form for one condition. `valuesOf` gives a field's values, `add` takes field, sign and value. */
function builderNodes(fields, valuesOf, add) {
  const list = make("datalist", { id: `values-${builderNodes.made = (builderNodes.made ?? 0) + 1}` });
  const field = make("select", { ariaLabel: "Field" }, ...Object.entries(fields).map(([name, type]) => make("option", { value: name }, `${name} (${type})`)));
  const sign = make("select", { ariaLabel: "Condition" });
  const value = make("input", { type: "text", ariaLabel: "Value", autocomplete: "off" });
  value.setAttribute("list", list.id);
  const button = make("button", { type: "button", className: "toggle-button" }, "Add");
  const fit = () => { value.hidden = sign.value.endsWith("*"); };
  const choose = async () => {
    const name = field.value;
    sign.replaceChildren(...signsOf(fields[name]).map((one) => make("option", { value: one }, SIGNS[one])));
    fit();
    value.placeholder = fields[name].replace("[]", "");
    list.replaceChildren();
    const found = await valuesOf(name);
    if (field.value === name) list.replaceChildren(...found.map((one) => make("option", { value: written(one) })));
  };
  const done = () => {
    if (!value.hidden && value.value.trim() === "") { value.focus(); return; }
    add(field.value, sign.value, value.hidden ? "" : value.value.trim());
    value.value = "";
  };
  field.addEventListener("change", choose);
  sign.addEventListener("change", fit);
  button.addEventListener("click", done);
  value.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); done(); } });
  choose();
  return [field, sign, value, list, button];
}

"""Filters over plain dictionaries: the truth that filters over columns are tested against.

Documents hold values of the declared types, exactly, or lists of them; nothing is a column here.
"""

import random

COMPARISONS = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def items(record, name):
    """The values of a field, one or a list; under ``a.b`` the ``b`` of the object ``a``."""
    outer, _, inner = name.partition(".")
    if inner:
        return items(record.get(outer) or {}, inner)
    value = record.get(name)
    several = value if isinstance(value, list) else [value]
    return [one for one in several if one is not None]


def admits(expression, record):
    """Whether a filter admits a document."""
    if "field" not in expression:
        return (
            all(admits(part, record) for part in expression.get("must", []))
            and not any(admits(part, record) for part in expression.get("must_not", []))
            and (
                not expression.get("should")
                or any(admits(part, record) for part in expression["should"])
            )
        )
    held = items(record, expression["field"])
    ((name, wanted),) = [pair for pair in expression.items() if pair[0] != "field"]
    return {
        "eq": lambda: wanted in held,
        "in": lambda: any(one in wanted for one in held),
        "all_of": lambda: all(one in held for one in wanted),
        "exists": lambda: bool(held) == wanted,
        "prefix": lambda: any(one.startswith(wanted) for one in held),
        "range": lambda: any(
            all(COMPARISONS[key](one, limit) for key, limit in wanted.items()) for one in held
        ),
    }[name]()


SCHEMA = {
    "brand": "string",
    "tags": "string[]",
    "year": "integer",
    "sizes": "integer[]",
    "price": "float",
    "marks": "float[]",
    "sold": "boolean",
    "flags": "boolean[]",
    "seen": "date",
    "visits": "date[]",
    "maker.name": "string",
}
BRANDS = ["acme", "acne", "", "[x", "Zoë", "a\U0001f989", "owl", "ow"]
DATES = [f"20{year}-0{month}-1{month}T00:00:00+00:00" for year in (10, 11) for month in (1, 2, 3)]


def value_of(kind, rng):
    """A value of a type that is no list."""
    return {
        "string": lambda: rng.choice(BRANDS),
        "integer": lambda: rng.choice([-(2**63) + 1, -3, 0, 1, 2, 3, 2**63 - 1]),
        "float": lambda: rng.choice([-0.5, 0.0, 1.0, 2.5, 1e300]),
        "boolean": lambda: rng.random() < 0.5,
        "date": lambda: rng.choice(DATES),  # which compare as their texts do
    }[kind]()


def documents(count, rng=None):
    """Documents of `SCHEMA`, a tenth of whose values is missing."""
    rng = rng or random.Random(3)
    made = []
    for number in range(count):
        record = {"_id": f"d{number}"}
        for name, kind in SCHEMA.items():
            if rng.random() < 0.1:
                continue
            base = kind.removesuffix("[]")
            value = value_of(base, rng)
            if kind != base:
                value = [value_of(base, rng) for _ in range(rng.randrange(4))]
            outer, _, inner = name.partition(".")
            record[outer] = {inner: value} if inner else value
        made.append(record)
    return made


def expression(rng, depth=3):
    """A filter over `SCHEMA`."""
    if depth and rng.random() < 0.5:
        joins = rng.sample(["must", "should", "must_not"], rng.randint(1, 3))
        return {
            join: [expression(rng, depth - 1) for _ in range(rng.randrange(3))] for join in joins
        }
    name, kind = rng.choice(list(SCHEMA.items()))
    base = kind.removesuffix("[]")
    several = [value_of(base, rng) for _ in range(rng.randrange(3))]
    conditions = {
        "eq": value_of(base, rng),
        "in": several,
        "all_of": several,
        "exists": rng.random() < 0.5,
    }
    if base == "string":
        conditions["prefix"] = rng.choice(["a", "ac", "acme", "o", "[", "x", "a\U0001f989"])
    elif base != "boolean":
        keys = rng.sample(list(COMPARISONS), rng.randint(1, 2))
        conditions["range"] = {key: value_of(base, rng) for key in keys}
    condition = rng.choice(list(conditions))
    return {"field": name, condition: conditions[condition]}

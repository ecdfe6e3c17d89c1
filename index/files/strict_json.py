"""JSON that every reader reads alike. Knows nothing of files or of requests.

RFC 8259 leaves open what a name that comes twice means, and most parsers keep the last value and
say nothing; whole numbers beyond 64 bits lose their last digits as quietly. Both are refused here,
so that corpora, imports, options and requests obey one rule.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from tamis.index.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHOLE_LIMIT = 2.0**63  # whole numbers beyond come out of orjson as floats


def parse_json(data: bytes | str) -> Any:  # noqa: ANN401  anything JSON can hold
    """The value of a JSON text, which may begin with a byte order mark.

    Raises:
        InputError: it is no JSON, an object has a name twice, a whole number has more than 64
            bits, or it is nested too deep.
    """
    given = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    given = given.removeprefix(BYTE_ORDER_MARK)
    try:
        value = orjson.loads(given)
    except orjson.JSONDecodeError as error:
        raise InputError(f"expected JSON, found broken JSON ({error}); correct it") from error
    names, is_large = _contents(value)
    if is_large or names != given.count(b":"):  # a colon in a text, or a name that came twice
        _read_slowly(given)
    return value


def _contents(value: object) -> tuple[int, bool]:
    """How many names its objects have together, and whether it holds a number of 2**63 or more."""
    names, is_large, found = 0, False, [value]
    for one in found:  # which grows meanwhile
        if type(one) is float:
            is_large = is_large or not -_WHOLE_LIMIT < one < _WHOLE_LIMIT
        elif type(one) is dict:
            names += len(one)
            found += one.values()
        elif type(one) is list:
            found += one
    return names, is_large


def _read_slowly(data: bytes) -> None:
    """Refuse what `orjson` passes over in silence."""
    try:
        json.loads(data, object_pairs_hook=_refuse_doubled, parse_int=_whole_number)
    except RecursionError:
        raise InputError(
            "expected JSON that is not nested deeper than some hundred levels, found more; "
            "flatten it"
        ) from None


def _refuse_doubled(pairs: list[tuple[str, Any]]) -> None:
    seen = set[str]()
    for name, _ in pairs:
        if name in seen:
            first = ": ".join(map(repr, pairs[0]))
            raise InputError(
                f"expected each name of a JSON object once, found {name!r} twice in the one that "
                f"begins with {first[:60]}; leave one out"
            )
        seen.add(name)


def _whole_number(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise InputError(
            f"expected whole numbers of at most 64 bits, found {digits[:40]}; write it as a string"
        )
    return int(digits)

"""JSON against Python's own parser, which tells the names of an object as they come."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.index import InputError
from tamis.index.files.strict_json import parse_json

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e300, 1e300)
VALUES = st.recursive(
    SCALARS | st.text('ab:"\\{}[]é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:", max_size=2), inner),
    max_leaves=12,
)


@given(value=VALUES, indent=st.sampled_from([None, 1]))
def test_what_python_writes_is_read(value, indent):
    assert parse_json(json.dumps(value, indent=indent)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@st.composite
def objects(draw):
    """A JSON text, and whether one of its objects has a name twice."""
    pairs = draw(st.lists(st.tuples(st.sampled_from(["a", ":", 'b"', "ä"]), VALUES), max_size=4))
    names = [name for name, _ in pairs]
    inner = ", ".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
    around = draw(st.sampled_from(["X", "[1, X]", '{"x": {"y": [X]}}', '[{"a": ":"}, X]']))
    return around.replace("X", f"{{{inner}}}"), len(set(names)) < len(names)


@given(objects())
def test_a_name_that_comes_twice_is_refused_however_deep_it_stands(given):
    text, doubled = given
    if doubled:
        with pytest.raises(InputError, match="expected each name of a JSON object once, found"):
            parse_json(text)
    else:
        assert parse_json(text) == json.loads(text)


def test_names_are_the_same_however_they_are_escaped():
    with pytest.raises(InputError, match="found 'a' twice in the one that begins with 'a': 1"):
        parse_json(b'{"a": 1, "\\u0061": 2}')


@pytest.mark.parametrize(
    "text", ["18446744073709551616", "-9223372036854775809", '[{"a": 1' + "0" * 300 + "}]"]
)
def test_whole_numbers_that_would_lose_digits_are_refused(text):
    with pytest.raises(InputError, match="expected whole numbers of at most 64 bits, found"):
        parse_json(text)
    assert parse_json("[1e30, -12345678901234567890.5]") == [1e30, -12345678901234567890.5]


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "1e999", '{"a": 1} x', b"\xff", '"\ud800"', "'a'"]
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(InputError, match=r"expected JSON, found broken JSON \(.*\); correct it"):
        parse_json(text)


def test_a_byte_order_mark_is_passed_over_and_depth_is_bounded():
    assert parse_json(b"\xef\xbb\xbf[1]") == parse_json("\ufeff[1]") == [1]
    with pytest.raises(InputError, match="nested deeper"):
        parse_json('{"a": ":", "b": ' + "[" * 999 + "]" * 999 + "}")

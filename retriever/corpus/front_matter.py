"""Front matter: the YAML between ``---`` or the TOML between ``+++`` that a text begins with.

Only plain data is built: texts, truth values, lists, maps, and numbers that are spelled as Python
would spell them. ``12.50`` and ``1.10`` stay the texts that they are, and a date its ISO 8601 form.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date, time
from typing import Any

import yaml

from tamis.index.errors import InputError
from tamis.retriever.corpus.blocks import one_line

MAX_CHARACTERS = 1 << 16
_BORDER = re.compile(
    r"\A(---|\+\+\+)[ \t]*\n(.*?)^(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)

_PLAIN = {
    "bool": re.compile("true|True|false|False"),
    "null": re.compile("~|null|Null|"),
    "int": re.compile("0|-?[1-9][0-9]{0,17}"),
    "float": re.compile(r"-?(?:0|[1-9][0-9]{0,7})\.(?:0|[0-9]{0,5}[1-9])"),
}


def split_front_matter(text: str) -> tuple[dict[str, Any], str, int]:
    """What the front matter says, the text below it, and how many lines it takes.

    A text that only begins with a rule (``---``) has none.

    Raises:
        InputError: it is no valid YAML or TOML, is no map, is longer than 64 KiB, or names a field
            twice. The message names neither file nor line.
    """
    found = _BORDER.match(text)
    if found is None or (found[1] == "---" and not found[2].strip()):
        return {}, text, 0
    if len(found[2]) > MAX_CHARACTERS:
        raise InputError(
            f"expected front matter of at most {MAX_CHARACTERS >> 10} KiB, found "
            f"{len(found[2]) >> 10} KiB; move what is no field below it"
        )
    value = _toml(found[2]) if found[1] == "+++" else _yaml(found[2])
    if isinstance(value, str) or value is None:
        return {}, text, 0  # a paragraph between two rules
    if not isinstance(value, dict):
        raise _refusal("a list of single values", "write `name: value` lines")
    return _plain(value), text[found.end() :], text.count("\n", 0, found.end())


def _toml(text: str) -> Any:  # noqa: ANN401  any value
    try:
        return tomllib.loads(text, parse_float=_spelled)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _refusal(str(error), "correct it, or remove the +++ lines") from error


def _yaml(text: str) -> Any:  # noqa: ANN401
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or type(error).__name__
        where = f" in its line {mark.line + 1}" if mark is not None else ""
        raise _refusal(f"{said}{where}", "put a value that holds a colon in quotes") from error


def _refusal(found: str, remedy: str) -> InputError:
    return InputError(f"expected front matter that can be read, found {one_line(found)}; {remedy}")


class _Loader(yaml.SafeLoader):
    """Reads plain data as it is written; refuses a name twice and anchors, which can swell."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:  # noqa: ANN401
        """The tag of a node: a plain scalar is a text unless it is spelled as something else."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        found = next((tag for tag, spelled in _PLAIN.items() if spelled.fullmatch(value)), "str")
        return f"tag:yaml.org,2002:{found}"

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401  PyYAML has no types
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(
                None, None, "an alias, which front matter does not need", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401
        names = [key.value for key, _ in node.value]
        for at, (key, _) in enumerate(node.value):
            if names.index(key.value) < at:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {key.value!r} twice", key.start_mark
                )
        return super().construct_mapping(node, deep)


def _spelled(text: str) -> float | str:
    """A number that is spelled as Python spells it; otherwise its text."""
    number = float(text)
    return number if repr(number) == text else text


def _plain(value: Any) -> Any:  # noqa: ANN401
    """The value as JSON can hold it: dates as ISO 8601; names without a value are left out."""
    if isinstance(value, dict):
        kept = {str(name): _plain(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return str(value)
    return value

"""Collections that the package ``ir_datasets`` knows: records of a hundred kinds become texts.

The text of a record is what its collection's owners say it is: the record's ``default_text``.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from tamis.index.errors import InputError, TamisWarning
from tamis.retriever.corpus.judgements import Judgements, whole_grade
from tamis.retriever.types import Passage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PARTS = {"docs": "documents", "queries": "queries", "qrels": "judgements"}


class DatasetWarning(TamisWarning):
    """Something about a collection changes what its figures mean."""


class Collection(NamedTuple):
    """What a collection holds; ``documents`` gives a fresh stream at each call."""

    queries: dict[str, str]
    judgements: Judgements
    documents: Callable[[], Iterator[Passage]]


def is_known(name: str) -> bool:
    """Whether ``ir_datasets`` is installed and may have a collection of this name."""
    if importlib.util.find_spec("ir_datasets") is None:
        return False
    import ir_datasets

    return "/" in name or name in set(ir_datasets.registry)


def read_collection(name: str) -> Collection:
    """The judged queries of a collection, its judgements and its documents.

    Judgements of one pair for several subtopics or passages become the highest of them.

    Raises:
        InputError: no such collection, one without queries or judgements, or records without text.

    Warns:
        DatasetWarning: judged queries without a text are left out.
    """
    source = _source(name, PARTS)
    judged = Judgements()
    for one in _records(source, "qrels", name):
        judged.add(str(one.query_id), str(one.doc_id), _grade(name, one))
    texts = {
        query: text for query, text in _queries(source, name).items() if query in judged.grades
    }
    without = [query for query in judged.grades if not texts.get(query, "").strip()]
    if without:
        warnings.warn(
            f"{name}: {len(without)} judged queries have no text, such as {without[0]!r}; "
            "they are left out",
            DatasetWarning,
            stacklevel=2,
        )
        texts = {query: text for query, text in texts.items() if text.strip()}
    return Collection(texts, judged, lambda: _documents(source, name))


def read_texts(name: str) -> tuple[dict[str, str], Callable[[], Iterator[Passage]]]:
    """All queries of a collection, and what gives a fresh stream of its documents.

    Raises:
        InputError: as `read_collection`; judgements need not be there.
    """
    source = _source(name, ("docs", "queries"))
    return _queries(source, name), lambda: _documents(source, name)


def _source(name: str, parts: Iterable[str]) -> Any:  # noqa: ANN401  it is untyped
    """A collection that has certain parts."""
    import ir_datasets

    try:
        source = ir_datasets.load(name)
    except KeyError as error:
        raise InputError(
            f"expected a dataset folder or an ir_datasets id, found {name!r}; "
            "list the ids with `ir_datasets list`"
        ) from error
    missing = [PARTS[part] for part in parts if not hasattr(source, f"{part}_iter")]
    if missing:
        *most, last = (PARTS[part] for part in parts)
        raise InputError(
            f"{name}: expected {', '.join(most)} and {last}, found no {', '.join(missing)}; "
            f"name a part of it that has them, see `ir_datasets list | grep {name}`"
        )
    return source


def text_of(record: Any, name: str) -> str:  # noqa: ANN401  one of a hundred record types
    """The text of a document or query of a collection: its ``default_text``, or a field "text".

    Raises:
        InputError: it has neither.
    """
    if hasattr(record, "default_text"):
        return str(record.default_text())
    if hasattr(record, "text"):
        return str(record.text)
    fields = ", ".join(getattr(record, "_fields", ()))
    raise InputError(
        f"{name}: expected records with a text, found {type(record).__name__} with {fields}; "
        "write corpus.jsonl, queries.jsonl and qrels/test.tsv with the text you choose"
    )


def _queries(source: Any, name: str) -> dict[str, str]:  # noqa: ANN401  it is untyped
    return {str(one.query_id): text_of(one, name) for one in _records(source, "queries", name)}


def _documents(source: Any, name: str) -> Iterator[Passage]:  # noqa: ANN401  it is untyped
    records = _records(source, "docs", name)
    return (Passage(str(one.doc_id), text_of(one, name)) for one in records)


def _records(source: Any, part: str, name: str) -> Iterator[Any]:  # noqa: ANN401  it is untyped
    try:
        yield from getattr(source, f"{part}_iter")()
    except Exception as error:  # whatever a download, an archive or a parser raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"{name}: expected {PARTS[part]} from ir_datasets, found {reason}; connect to the "
            "network, or put the files where https://ir-datasets.com says"
        ) from error


def _grade(name: str, judgement: Any) -> int:  # noqa: ANN401  one of a dozen record types
    try:
        return whole_grade(str(judgement.relevance))
    except ValueError as error:
        raise InputError(
            f"{name}: expected whole numbers as grades, found {judgement.relevance!r} for "
            f"{judgement.query_id!r} and {judgement.doc_id!r}; map grades to 0, 1, 2, ..."
        ) from error

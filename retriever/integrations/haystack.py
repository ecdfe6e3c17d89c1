"""Haystack: a component that retrieves from an index, and its filters in ours.

>>> from tamis.retriever.integrations.haystack import TamisRetriever  # doctest: +SKIP
>>> TamisRetriever("planets", top_k=4).run("Which planet is red?")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise ImportError(
        "expected haystack-ai, found none; install it with: pip install 'tamis[haystack]'"
    ) from error

from tamis.index.errors import InputError
from tamis.retriever.integrations.found import check_options, hits_of, metadata_of, text_of
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPARISONS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


@component
class TamisRetriever:
    """Gives Haystack documents from the index in a folder."""

    def __init__(
        self,
        path: str,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Name an index; it is opened by `warm_up`, or at the first search.

        Args:
            path: its folder.
            top_k: how many documents to give.
            filters: Haystack's, over declared fields; a run's own take their place.
            options: further arguments of `Searcher.search`, such as ``recall``.

        Raises:
            InputError: no such option is there.
        """
        check_options(options or {})
        self.path, self.top_k, self.filters, self.options = path, top_k, filters, options or {}
        self._searcher: Searcher | None = None

    def warm_up(self) -> None:
        """Open the index."""
        if self._searcher is None:
            self._searcher = Searcher.open(self.path)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The best documents for a text, as ``{"documents": [...]}``."""
        self.warm_up()
        assert self._searcher is not None
        wanted = filters if filters is not None else self.filters
        options = {**self.options, **({"filter": filter_of(wanted)} if wanted else {})}
        hits = hits_of(self._searcher, query, self.top_k if top_k is None else top_k, options)
        documents = [
            Document(id=hit.doc_id, content=text_of(hit), meta=metadata_of(hit), score=hit.score)
            for hit in hits
        ]
        return {"documents": documents}

    def to_dict(self) -> dict[str, Any]:
        """The component as Haystack keeps it in a pipeline's file.

        Load that with ``allowed_modules=["tamis.retriever.integrations.haystack"]``.
        """
        found: dict[str, Any] = default_to_dict(
            self, path=self.path, top_k=self.top_k, filters=self.filters, options=self.options
        )
        return found

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TamisRetriever:
        """The component that `to_dict` described."""
        made: TamisRetriever = default_from_dict(cls, data)
        return made


def filter_of(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Haystack's filters as `Searcher.search` takes them.

    Raises:
        InputError: an operator has no counterpart.
    """
    operator = filters.get("operator")
    if "conditions" in filters:
        parts = [filter_of(part) for part in filters["conditions"]]
        if operator == "AND":
            return {"must": parts}
        if operator == "NOT":  # not all of them
            return {"must_not": [{"must": parts}]}
        if operator == "OR":
            return {"should": parts} if parts else {"must_not": [{"must": []}]}  # none
    elif "field" in filters and "value" in filters:
        found = _condition(filters["field"].removeprefix("meta."), operator, filters["value"])
        if found is not None:
            return found
    raise InputError(
        f"expected a filter of Haystack with AND, OR, NOT, ==, !=, >, >=, <, <=, in or not in, "
        f"found {str(filters)[:120]}; see Haystack's page on metadata filtering"
    )


def _condition(field: str, operator: object, value: Any) -> dict[str, Any] | None:  # noqa: ANN401
    if operator in _COMPARISONS:
        return {"field": field, "range": {_COMPARISONS[str(operator)]: value}}
    if operator in ("in", "not in") and not isinstance(value, list | tuple | set):
        raise InputError(
            f"expected a list of values for {operator!r} on the field {field!r}, found {value!r}; "
            "put it in a list"
        )
    if operator in ("==", "!=") and value is None:
        return {"field": field, "exists": operator == "!="}
    if operator in ("==", "!="):
        wanted = {"field": field, "eq": value}
    elif operator in ("in", "not in"):
        wanted = {"field": field, "in": list(value)}
    else:
        return None
    return wanted if operator in ("==", "in") else {"must_not": [wanted]}

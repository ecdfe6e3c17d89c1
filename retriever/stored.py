"""StoredDocument: a stored record that is parsed when somebody looks into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson


class StoredDocument(Mapping[str, Any]):
    """The fields of a document.

    Attributes:
        json: the whole record, as it was stored.
    """

    __slots__ = ("_record", "json")

    def __init__(self, json: bytes) -> None:
        """Take a JSON object."""
        self.json = json
        self._record: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  whatever the field holds
        return self._parsed()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())

    def __repr__(self) -> str:
        return repr(self._parsed())

    def _parsed(self) -> dict[str, Any]:
        if self._record is None:
            self._record = orjson.loads(self.json)
        return self._record

"""Rerankers by name: the searcher's own, and those made of what is stored beside a collection."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

from tamis.index.errors import InputError
from tamis.retriever.rerank.text_store import VECTORS, StoreKind, read_about

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.dense_encoder import DenseEncoder
    from tamis.retriever.rerank.dense import DenseReranker
    from tamis.retriever.rerank.reranker import Reranker
    from tamis.retriever.rerank.text_store import About

RerankerName = Literal["block", "dense"]
NAMES: tuple[RerankerName, ...] = get_args(RerankerName)
KINDS: dict[RerankerName, StoreKind] = {"dense": VECTORS}  # what each needs beside the collection


class NamedRerankers:
    """The rerankers of one collection, made when they are first asked for.

    What lies beside the collection may be stored, replaced and removed meanwhile.
    """

    def __init__(self, collection: Path) -> None:
        """Take the collection's folder."""
        self._collection = collection
        self._dense: DenseReranker | None = None

    def named(self, name: RerankerName, own: Reranker | None) -> Reranker:
        """The reranker of a name.

        Args:
            name: ``block`` is the searcher's own, ``dense`` interpolates with stored vectors.
            own: the searcher's.

        Raises:
            InputError: there is none of that name, or nothing is stored for it.
        """
        if name == "dense":
            return self._of_vectors()
        if name != "block":
            raise InputError(f"expected a reranker among {', '.join(NAMES)}, found {name!r}")
        if own is None:
            raise InputError(
                "expected a searcher with a reranker, found none; give Searcher one, such as "
                "BlockReranker.from_pretrained()"
            )
        return own

    def _of_vectors(self) -> DenseReranker:
        """By the encoder that filled the store."""
        about = about_stored(self._collection, "dense")
        encoder = _dense_encoder(about.settings["encoder"], about.fingerprint)
        if self._dense is None or self._dense.encoder is not encoder:
            from tamis.retriever.rerank.dense import DenseReranker

            self._dense = DenseReranker(encoder).over(self._collection)
        return self._dense


def about_stored(collection: Path, name: RerankerName) -> About:
    """What is stored for a reranker beside a collection.

    Raises:
        InputError: nothing is.
        FormatError: no finished store of this version.
    """
    kind = KINDS[name]
    if not (collection / kind.folder).is_dir():
        raise InputError(
            f"{collection}: expected {kind.name} for the reranker {name}, found none; {kind.remedy}"
        )
    return read_about(collection / kind.folder, kind)


@lru_cache(maxsize=4)  # collections of one encoder share it
def _dense_encoder(place: str, fingerprint: str) -> DenseEncoder:
    """The encoder at a place; loaded again where another one has filled a store since."""
    del fingerprint
    from tamis.retriever.models.dense_encoder import DenseEncoder

    return DenseEncoder.load(place)

"""Storing what rerankers need of texts beside a collection; behind ``--dense-store`` and so on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tamis.scripts.output import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.index.collection import Collection
    from tamis.retriever.rerank.text_store import StoreKind, TextStore


def _four_or_eight(bits: int) -> int:
    if bits not in (4, 8):
        raise typer.BadParameter(f"expected 4 or 8, found {bits}")
    return bits


RerankCacheOption = Annotated[
    bool,
    typer.Option(
        "--rerank-cache",
        help="Store the documents' keys for the reranker beside them: reranking is then faster.",
    ),
]
DenseStoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="ENCODER",
        help="Store the documents' vectors by a dense encoder, a folder of sentence-transformers, "
        "for --reranker dense.",
    ),
]
RerankBudgetOption = Annotated[
    int, typer.Option(min=1, help="Refuse to store more keys, or vectors, than so many MiB.")
]
RerankBitsOption = Annotated[
    int,
    typer.Option(
        callback=_four_or_eight,
        help="Bits of a stored key's numbers: 8, or 4 for half the bytes and less precise scores.",
    ),
]
BUDGET_MIB = 4096
BITS = 8


class Stores(NamedTuple):
    """What to store beside a collection.

    keys:       of the bundled reranker.
    dense:      a dense encoder, whose vectors to store; None for none.
    budget_mib: of each.
    bits:       of a key's numbers.
    """

    keys: bool
    dense: str | None
    budget_mib: int = BUDGET_MIB
    bits: int = BITS

    def check(self) -> None:
        """Refuse a dense encoder that cannot be read, before an index is built for it."""
        from tamis.retriever.models.dense_format import read_dense_encoder

        if self.dense is not None:
            read_dense_encoder(self.dense)

    def write(self, folder: Path, device: str | None = None) -> None:
        """Store it for all documents of a collection, and say how many bytes it takes."""
        from tamis.index.collection import Collection

        if not self.keys and self.dense is None:
            return
        collection = Collection.open(folder)
        if self.keys:
            self._store_keys(collection, device)
        if self.dense is not None:
            self._store_vectors(collection, self.dense, device)

    def _store_keys(self, collection: "Collection", device: str | None) -> None:
        from tamis.retriever.rerank.block_reranker import BlockReranker
        from tamis.retriever.rerank.stored_keys import DocumentStore
        from tamis.retriever.rerank.text_store import KEYS

        reranker = BlockReranker.from_pretrained(device=device, conditioning="none")
        found = DocumentStore.build(
            reranker,
            _texts(collection),
            collection.path / KEYS.folder,
            budget_bytes=self.budget_mib << 20,
            bits=self.bits,
        )
        _say(collection, KEYS, found.store)

    def _store_vectors(self, collection: "Collection", name: str, device: str | None) -> None:
        from tamis.retriever.models.dense_encoder import DenseEncoder
        from tamis.retriever.rerank.dense import store_vectors
        from tamis.retriever.rerank.text_store import VECTORS

        encoder = DenseEncoder.load(name, device=device)
        folder, budget_bytes = collection.path / VECTORS.folder, self.budget_mib << 20
        store = store_vectors(encoder, _texts(collection), folder, budget_bytes=budget_bytes)
        _say(collection, VECTORS, store)


def _texts(collection: "Collection") -> "Iterator[str]":
    """All texts, as they are reranked."""
    from tamis.retriever.types import content_of

    fields, docs = collection.settings.text_fields, collection.index.live_docs().tolist()
    return (content_of(collection.document(doc), fields) for doc in docs)


def _say(collection: "Collection", kind: "StoreKind", store: "TextStore") -> None:
    each = store.size_bytes / max(len(store), 1)
    typer.echo(
        f"{collection.path / kind.folder}: {kind.name} of {len(store):,} texts, "
        f"{human_bytes(store.size_bytes)}, {each:,.0f} bytes each",
        err=True,
    )

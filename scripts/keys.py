"""Storing the reranker's keys beside a collection; behind ``--rerank-cache``."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import human_bytes


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
RerankBudgetOption = Annotated[
    int, typer.Option(min=1, help="Refuse to store more keys than so many MiB.")
]
RerankBitsOption = Annotated[
    int,
    typer.Option(
        callback=_four_or_eight,
        help="Bits of a stored number: 8, or 4 for about half the bytes and less precise scores.",
    ),
]
BUDGET_MIB = 4096
BITS = 8


def store_keys(folder: Path, budget_mib: int, bits: int = BITS, device: str | None = None) -> None:
    """Store the keys of all documents of a collection, and say how many bytes they take."""
    from tamis.index.collection import Collection
    from tamis.retriever.rerank.block_reranker import BlockReranker
    from tamis.retriever.rerank.reranker import KEYS_FOLDER
    from tamis.retriever.rerank.stored_keys import DocumentStore
    from tamis.retriever.types import content_of

    collection = Collection.open(folder)
    reranker = BlockReranker.from_pretrained(device=device, conditioning="none")
    fields, docs = collection.settings.text_fields, collection.index.live_docs().tolist()
    texts = (content_of(collection.document(doc), fields) for doc in docs)
    keys = folder / KEYS_FOLDER
    store = DocumentStore.build(reranker, texts, keys, budget_bytes=budget_mib << 20, bits=bits)
    each = store.size_bytes / max(len(store), 1)
    size = human_bytes(store.size_bytes)
    typer.echo(f"{keys}: keys of {len(store)} texts, {size}, {each:,.0f} bytes each", err=True)

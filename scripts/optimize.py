"""``tamis optimize``: an index becomes what building it again would make."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, human_bytes, print_json
from tamis.scripts.progress import progress_on_terminal
from tamis.scripts.stores import (
    BITS,
    BUDGET_MIB,
    DenseStoreOption,
    RerankBitsOption,
    RerankBudgetOption,
    RerankCacheOption,
    Stores,
)


def optimize(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    rerank_cache: RerankCacheOption = False,
    dense_store: DenseStoreOption = None,
    rerank_budget_mib: RerankBudgetOption = BUDGET_MIB,
    rerank_bits: RerankBitsOption = BITS,
    json: JsonOption = False,
) -> None:
    """Rebuild an index of the documents it holds: one segment, word statistics measured again.

    Nothing is encoded again. Searches go on meanwhile; it needs room for a second index. What is
    stored for rerankers is stored again only when asked for, and computed for texts that it lacks;
    these are read meanwhile.
    """
    from tamis.index.writing.writer import CollectionWriter
    from tamis.retriever.renewal import renew
    from tamis.scripts.info import read_info

    stores = Stores(rerank_cache, dense_store, rerank_budget_mib, rerank_bits)
    stores.check()
    began, before = perf_counter(), read_info(collection)
    with (
        CollectionWriter.open(collection, merge=False) as writer,
        progress_on_terminal() as progress,
    ):
        renew(writer, progress)
    stores.write(collection)
    took_s, after = perf_counter() - began, read_info(collection)
    if json:
        print_json({**after, "took_ms": took_s * 1000})
    else:
        typer.echo(
            f"{collection}: {before['segments']} segments, {human_bytes(before['size_bytes'])} -> "
            f"{after['segments']}, {human_bytes(after['size_bytes'])} in {took_s:.1f} s"
        )

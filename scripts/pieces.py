"""``tamis index --piece``: a share of a corpus is indexed by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from tamis.scripts.corpus import Reading, say_skipped
from tamis.scripts.output import print_json
from tamis.scripts.progress import START_UP, progress_on_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def index_piece_of(
    corpus: str, piece: str, out: Path, reading: Reading, options: Mapping[str, Any]
) -> int:
    """Read and encode a share of a corpus, with progress on a terminal; how many documents.

    Args:
        corpus: what to read.
        piece: the share, such as ``2/8``.
        out: the piece's own folder.
        reading: how the corpus is read.
        options: what `index_options` gives.
    """
    from tamis.retriever.builds.pieces import index_piece
    from tamis.retriever.corpus.passages import read_passages
    from tamis.retriever.corpus.shares import Share

    share = Share.parse(piece)
    START_UP.over()
    with progress_on_terminal() as progress:
        passages = read_passages(corpus, share=share, **reading)
        return index_piece(passages, out, share, progress=progress, **options)


def print_piece(
    corpus: str,
    piece: str,
    out: Path,
    reading: Reading,
    options: Mapping[str, Any],
    json: bool,
) -> None:
    """Index a piece, and say what it holds; arguments as of `index_piece_of`."""
    count = index_piece_of(corpus, piece, out, reading, options)
    say_skipped(reading)
    if json:
        print_json({"path": str(out), "piece": piece, "documents": count})
    else:
        typer.echo(f"{out}: piece {piece}, {count:,} documents; `tamis assemble` joins all pieces")

"""Arguments that commands which read a corpus share, and counting one."""

from pathlib import Path
from typing import Annotated

import typer

corpus_argument = typer.Argument(metavar="CORPUS", help="What to read; - is standard input.")
EncoderOption = Annotated[
    str,
    typer.Option(
        "--encoder", "-e", help="Hub name or folder of a model; 'bm25' indexes words alone."
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="Where the model runs, such as cpu or cuda:0.")
]


def count_passages(corpus: str) -> int | None:
    """How many passages a line-by-line corpus holds, for the time left; None if it is not one."""
    from tamis.retriever.passages import STDIN, corpus_file, open_bytes

    if corpus == STDIN:
        return None
    path = corpus_file(Path(corpus))
    if path.is_dir() or not {".jsonl", ".tsv"} & set(path.suffixes):
        return None
    with open_bytes(path) as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))

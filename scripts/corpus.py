"""Arguments that commands which read a corpus share, and counting one."""

from pathlib import Path
from typing import Annotated, TypedDict

import typer

corpus_argument = typer.Argument(metavar="CORPUS", help="What to read; - is standard input.")
EncoderOption = Annotated[
    str,
    typer.Option(
        "--encoder",
        "-e",
        help="Hub name or folder of a model; default ships, bm25 indexes words alone.",
    ),
]
ModelOption = Annotated[
    str, typer.Option("--encoder", "-e", help="Hub name or folder of a model; default ships.")
]
OwnEncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        "-e",
        metavar="PLACE",
        help="Where the index's own encoder lies now, a folder or a hub name; by default where it "
        "lay when the index was made. Another encoder is refused.",
    ),
]
IdFieldOption = Annotated[
    str | None, typer.Option(help="Field of the id; by default _id, id, docid or doc_id.")
]
TitleFieldOption = Annotated[str | None, typer.Option(help="Field of the title; by default title.")]
TextFieldOption = Annotated[
    str | None,
    typer.Option(help="Field of the text; by default text, contents, body, segment or passage."),
]
ChunkOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKENS[:OVERLAP]",
        help="Divide documents into passages of at most so many tokens, sharing so many, such as "
        "200:40; not divided by default.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        help="Where the model runs, such as cpu or cuda:0; by default CUDA where there is one."
    ),
]


class Reading(TypedDict, total=False):
    """Under which names a corpus holds what, as `read_passages` takes it."""

    id_field: str | None
    title_field: str | None
    text_field: str | None


def count_passages(corpus: str) -> int | None:
    """How many passages a line-by-line corpus holds, for the time left; None if it is not one."""
    from tamis.index.files.lines import open_bytes
    from tamis.retriever.corpus.passages import STDIN, corpus_files

    if corpus == STDIN:
        return None
    count = 0
    for path in corpus_files(Path(corpus)):
        if not {".jsonl", ".ndjson", ".tsv"} & set(path.suffixes):
            return None
        with open_bytes(path) as stream:
            count += sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))
    return count

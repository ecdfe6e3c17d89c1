"""Arguments that commands which read a corpus share, and counting one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.index.errors import InputError
    from tamis.index.files.lines import Fault
    from tamis.retriever.corpus.chunking import Chunking
    from tamis.retriever.corpus.faults import Faults
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.words.fields import TextField

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
SearchedFieldsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELDS",
        help="Field of the text; by default text, contents, body, segment or passage. A list such "
        "as title:3,text,brand: the fields that are searched, by their names in the index, and "
        "how much a word counts in each; by default title and text are one.",
    ),
]
ChunkOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKENS[:OVERLAP]",
        help="Divide documents into passages of at most so many tokens, sharing so many, such as "
        "200:40; none leaves them whole. By default folders of texts that are longer than the "
        "encoder reads are divided.",
    ),
]
SkipBadOption = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Leave out what cannot be read, and say how much; not the first mistake."
    ),
]
WHOLE = "none"
DeviceOption = Annotated[
    str | None,
    typer.Option(
        help="Where the model runs, such as cpu or cuda:0; by default CUDA where there is one."
    ),
]


class Reading(TypedDict, total=False):
    """How a corpus is read, as `read_passages` takes it."""

    id_field: str | None
    title_field: str | None
    text_field: str | None
    searched: "Sequence[str]"
    fault: "Fault"


def text_fields_of(text_field: str | None) -> "tuple[TextField, ...]":
    """The searched fields that ``--text-field`` lists; none where it names that of the text."""
    from tamis.retriever.words.fields import parse_text_fields

    is_list = text_field is not None and ("," in text_field or ":" in text_field)
    return parse_text_fields(text_field) if text_field is not None and is_list else ()


def reading_of(
    id_field: str | None,
    title_field: str | None,
    text_field: str | None,
    *,
    skip_bad: bool,
    searched: "Sequence[TextField]" = (),
) -> Reading:
    """How to read a corpus; what is faulty is counted with ``skip_bad``, and ends it without.

    ``text_field`` names that of the text, unless it lists the ``searched`` fields.
    """
    from tamis.retriever.corpus.faults import Faults

    return Reading(
        id_field=id_field,
        title_field=title_field,
        text_field=None if text_fields_of(text_field) else text_field,
        searched=[one.name for one in searched],
        fault=Faults() if skip_bad else _refuse,
    )


def _refuse(error: "InputError") -> None:
    """The first mistake ends the reading. That of a line ends its file too, and comes again."""
    from tamis.index.errors import InputError

    way_out = "; or leave out what cannot be read with --skip-bad"
    raise InputError(str(error).removesuffix(way_out) + way_out) from error


def skipped(reading: Reading) -> "Faults | None":
    """What has been left out; None without ``--skip-bad``."""
    from tamis.retriever.corpus.faults import Faults

    fault = reading.get("fault")
    return fault if isinstance(fault, Faults) else None


def say_skipped(reading: Reading) -> None:
    """Say on standard error how much was left out, and the first of it."""
    found = skipped(reading)
    if found is None or not found.count:
        return
    typer.echo(f"tamis: note: left out {found.count:,} that could not be read", err=True)
    for mistake in found.first:
        typer.echo(f"  {mistake}", err=True)
    if found.count > len(found.first):
        typer.echo(f"  and {found.count - len(found.first):,} more", err=True)


def chunking_of(chunk: str | None, corpus: str, encoder: "Encoder | None") -> "Chunking | None":
    """What ``--chunk`` says; without it, what suits the corpus, which is told."""
    from tamis.retriever.corpus.chunking import Chunking
    from tamis.retriever.corpus.suited_chunking import suited_chunking

    if chunk is None:
        return suited_chunking(corpus, encoder)
    return None if chunk == WHOLE else Chunking.parse(chunk)


def count_passages(corpus: str) -> int | None:
    """How many passages a line-by-line corpus holds, for the time left; None if it is not one."""
    from tamis.index.files.lines import count_lines
    from tamis.retriever.corpus.passages import STDIN, corpus_files

    if corpus == STDIN:
        return None
    count = 0
    for path in corpus_files(Path(corpus)):
        if not {".jsonl", ".ndjson", ".tsv"} & set(path.suffixes):
            return None
        count += count_lines(path)
    return count

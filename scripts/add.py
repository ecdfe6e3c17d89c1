"""``tamis add``: documents join an index, or take the place of those with their ids."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from tamis.scripts.corpus import (
    DeviceOption,
    IdFieldOption,
    OwnEncoderOption,
    SkipBadOption,
    TextFieldOption,
    TitleFieldOption,
    corpus_argument,
    count_passages,
    reading_of,
    say_skipped,
    skipped,
    text_fields_of,
)
from tamis.scripts.output import JsonOption, print_json
from tamis.scripts.progress import progress_on_terminal


def add(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    corpus: Annotated[str, corpus_argument],
    id_field: IdFieldOption = None,
    title_field: TitleFieldOption = None,
    text_field: TextFieldOption = None,
    skip_bad: SkipBadOption = False,
    encoder: OwnEncoderOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Add documents to an index, replacing those of the same ids.

    CORPUS is anything that `tamis index` reads. Each 256 documents are kept as soon as they are
    encoded; searches find all of them when the command ends.
    """
    from tamis.retriever.corpus.passages import read_passages
    from tamis.retriever.editor import Editor
    from tamis.retriever.models.own_encoder import own_encoder, recorded_encoder
    from tamis.scripts.info import read_info

    began = perf_counter()
    if text_fields_of(text_field):
        raise typer.BadParameter(
            "--text-field names one field: an index keeps those it was made of"
        )
    own = own_encoder(collection, recorded_encoder(collection), encoder, device)
    with (
        Editor.open(collection, own) as editor,
        progress_on_terminal(lambda: count_passages(corpus)) as progress,
    ):
        searched = editor.text_fields
        reading = reading_of(
            id_field, title_field, text_field, skip_bad=skip_bad, searched=searched
        )
        written = editor.put(read_passages(corpus, **reading), wait="searchable", progress=progress)
    took_s, found = perf_counter() - began, read_info(collection)
    say_skipped(reading)
    if json:
        left_out = skipped(reading)
        told = {"skipped": vars(left_out)} if left_out is not None else {}
        print_json({**found, **told, "written": written, "took_ms": took_s * 1000})
    else:
        typer.echo(
            f"{collection}: {written:,} documents written in {took_s:.1f} s, "
            f"{found['documents']:,} in all, generation {found['generation']}"
        )

"""``tamis estimate``: what indexing a corpus will take."""

from dataclasses import asdict
from typing import Annotated

import typer

from tamis.scripts.corpus import (
    ChunkOption,
    DeviceOption,
    EncoderOption,
    IdFieldOption,
    SearchedFieldsOption,
    SkipBadOption,
    TitleFieldOption,
    chunking_of,
    corpus_argument,
    count_passages,
    reading_of,
    say_skipped,
    text_fields_of,
)
from tamis.scripts.output import JsonOption, aligned, human_bytes, print_json
from tamis.scripts.progress import progress_on_terminal


def estimate(
    corpus: Annotated[str, corpus_argument],
    encoder: EncoderOption = "default",
    lexical: Annotated[
        bool, typer.Option(help="Index stemmed words beside the learned terms.")
    ] = True,
    language: Annotated[str, typer.Option(help="As for `tamis index`.")] = "english",
    chunk: ChunkOption = None,
    sample: Annotated[int, typer.Option(min=1, help="Most documents to index for it.")] = 16_384,
    documents: Annotated[
        int | None, typer.Option(min=1, help="Reckon for so many documents like these.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Pieces to index at once, each on a machine like this one.")
    ] = 1,
    id_field: IdFieldOption = None,
    title_field: TitleFieldOption = None,
    text_field: SearchedFieldsOption = None,
    skip_bad: SkipBadOption = False,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Say how much memory, disk and time `tamis index` will take, from a sample.

    Reads the corpus to its end, to count it, and indexes the sample in a temporary folder.
    """
    from tamis.retriever.corpus.passages import read_passages
    from tamis.retriever.estimate import estimate as estimate_corpus
    from tamis.retriever.models.encoder import load_encoder
    from tamis.scripts.build import WORDS_ALONE, lexical_config

    searched = text_fields_of(text_field)
    reading = reading_of(id_field, title_field, text_field, skip_bad=skip_bad, searched=searched)
    model = None if encoder == WORDS_ALONE else load_encoder(encoder, device=device)
    with progress_on_terminal(lambda: count_passages(corpus)) as progress:
        found = estimate_corpus(
            read_passages(corpus, **reading),
            encoder=model,
            lexical=lexical_config(language if lexical else None, searched),
            chunking=chunking_of(chunk, corpus, model),
            sample=sample,
            documents=documents,
            workers=workers,
            progress=progress,
        )
    say_skipped(reading)
    if json:
        print_json(asdict(found))
        return
    rows = [
        ("documents", f"{found.documents:,}, of which {found.sampled:,} were indexed to measure"),
        ("cut", f"{found.truncated:,} documents, longer than the encoder reads"),
        ("disk", f"{human_bytes(found.disk_bytes)}"),
        ("while building", f"{human_bytes(found.build_disk_bytes)} more"),
        ("memory", f"{human_bytes(found.memory_bytes)}"),
        ("searching", _searching(found.disk_bytes)),
        ("time", f"{_hours(found.time_s)} in one process, as busy as this machine is now"),
        ("encoding", _encoding(found.encoded_per_s)),
        ("terms", f"{found.entries_a_document:,.0f} a document, {found.words:,} distinct words"),
    ]
    if workers > 1:
        rows[-1:-1] = [
            (
                "each worker",
                f"{human_bytes(found.piece_memory_bytes)} of memory, {_hours(found.piece_time_s)}",
            ),
            ("joining words", f"{_hours(found.joining_time_s)}, one process"),
        ]
    typer.echo(aligned(rows))


def _searching(disk_bytes: int) -> str:
    from tamis.index.files.maps import room_for_maps

    room = room_for_maps()
    if disk_bytes <= room:
        return f"from memory, where {human_bytes(disk_bytes)} of it stay free"
    return "partly from disk, page by page: the index has more than half of this machine's memory"


def _hours(time_s: float) -> str:
    return f"{time_s / 60:,.1f} minutes" if time_s < 7200 else f"{time_s / 3600:,.1f} hours"


def _encoding(encoded_per_s: float) -> str:
    return f"{encoded_per_s:,.1f} documents/s" if encoded_per_s else "none: words alone"

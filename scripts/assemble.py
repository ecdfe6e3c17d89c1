"""``tamis assemble``: pieces of a corpus become one index."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.corpus import OwnEncoderOption
from tamis.scripts.output import JsonOption, human_bytes, print_json
from tamis.scripts.progress import START_UP, progress_on_terminal


def assemble(
    pieces: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Pieces of `tamis index --piece`, or their folder."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; new, or empty.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes that write segments.")] = 1,
    encoder: OwnEncoderOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an assembly that was stopped.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make one index of all pieces of a corpus.

    Pieces are made by `tamis index CORPUS --piece 1/8 --out DIR`, on any machines. The index is
    that of one process: words are numbered and weighed over all pieces. The pieces stay.
    """
    from tamis.retriever.builds.pieces import assemble as assemble_pieces
    from tamis.retriever.models.lazy_encoder import LazyEncoder
    from tamis.scripts.info import read_info

    model = LazyEncoder.of(encoder) if encoder is not None else None
    START_UP.over()
    try:
        with progress_on_terminal() as progress:
            assemble_pieces(
                pieces, out, encoder=model, workers=workers, resume=resume, progress=progress
            ).close()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "what is done is kept; run the same command with --resume to go on"
        ) from None
    found = read_info(out)
    took_s = START_UP.since_s()
    if json:
        print_json({**found, "took_ms": took_s * 1000})
        return
    typer.echo(
        f"{out}: {found['documents']:,} documents of {found['segments']} pieces in "
        f"{took_s:.1f} s, {human_bytes(found['size_bytes'])}"
    )

"""``tamis upgrade``: an index of an older format, or of another encoder, moves on."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.index.errors import InputError
from tamis.scripts.output import JsonOption, print_json
from tamis.scripts.progress import progress_on_terminal


def upgrade(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An index of an older format.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="Encode the stored texts again with this one; needs --out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the index of the other encoder.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring an index to this version's format, without encoding again.

    Where another version of the stemmer or of Unicode made its words, or a version that was not
    recorded, its texts are analysed again, which leaves it as `tamis optimize` does.

    With --encoder and --out its texts are encoded again into another index. DIR stays as it is and
    may be searched and written meanwhile. The same command goes on where it was stopped, and takes
    over what has changed since.
    """
    if (encoder is None) != (out is None):
        raise InputError(
            "expected --encoder and --out together, found one of them; name the encoder and the "
            "folder of the index that it is to make"
        )
    if encoder is not None and out is not None:
        _encode_again(folder, encoder, out, json)
        return
    from tamis.index.generations.manifest import FORMAT
    from tamis.retriever.renewal import upgrade_index

    with progress_on_terminal() as progress:
        found = upgrade_index(folder, progress)
    if json:
        print_json(
            {"path": str(folder), "from": found.format, "to": FORMAT, "analysed": found.analysed}
        )
        return
    analysed = ", all texts analysed again" if found.analysed else ""
    if found.format == FORMAT:
        typer.echo(f"{folder}: has format {FORMAT} already{analysed}")
    else:
        typer.echo(f"{folder}: format {found.format} -> {FORMAT}{analysed}")


def _encode_again(folder: Path, encoder: str, out: Path, json: bool) -> None:
    from tamis.retriever.builds.reencoding import reencode
    from tamis.retriever.models.encoder import load_encoder

    with progress_on_terminal() as progress:
        found = reencode(folder, out, load_encoder(encoder), progress)
    if json:
        print_json({"path": str(folder), "out": str(out)} | found._asdict())
        return
    typer.echo(
        f"{out}: {found.encoded} documents encoded, {found.kept} kept, {found.removed} removed"
    )

"""``tamis synonyms``: what words of an index's queries also mean, and which are left out."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.output import JsonOption, print_json


def synonyms(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    rules: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Replace the rules: 'sofa, couch' or 'nyc => new york' a line; # begins a note.",
        ),
    ] = None,
    stop_words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replace the words that queries leave out, one a line."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show or replace the synonyms and stop words of an index; nothing is built again."""
    from tamis.index.generations.settings import QueryWords
    from tamis.retriever.first_stage.query_words import query_words, set_query_words

    words = query_words(collection)
    if rules is not None or stop_words is not None:
        words = QueryWords(
            synonyms=words.synonyms if rules is None else _lines(rules),
            stop_words=words.stop_words if stop_words is None else _lines(stop_words),
        )
        set_query_words(collection, words)
    if json:
        print_json({"synonyms": words.synonyms, "stop_words": words.stop_words})
        return
    for rule in words.synonyms:
        typer.echo(rule)
    if words.stop_words:
        typer.echo(f"left out of queries: {', '.join(words.stop_words)}")
    typer.echo(f"{len(words.synonyms):,} rules, {len(words.stop_words):,} stop words")


def _lines(file: Path) -> list[str]:
    """The lines of a file that say something."""
    from tamis.index.errors import InputError

    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"expected a text file in UTF-8, found none that can be read ({error}); check the path"
        ) from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]

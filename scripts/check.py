"""``tamis index --check``: what a corpus holds, and all that is wrong with it."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from tamis.scripts.corpus import Reading, count_passages
from tamis.scripts.output import aligned, print_json
from tamis.scripts.progress import progress_on_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.index.segment.values import ColumnType
    from tamis.retriever.corpus.dry_run import CorpusReport


def print_check(
    corpus: str,
    reading: Reading,
    declared: "Mapping[str, ColumnType | None]",
    chunk_refusal: str,
    json: bool,
) -> None:
    """Read the whole corpus and print a report.

    Args:
        corpus: what to read.
        reading: how.
        declared: fields to filter by.
        chunk_refusal: why passages of the size asked for are refused; empty where they are not.
        json: print JSON.

    Raises:
        InputError: `tamis index` would refuse the corpus; after the report is printed.
    """
    from tamis.index.errors import InputError
    from tamis.retriever.corpus.dry_run import check_corpus

    with progress_on_terminal(lambda: count_passages(corpus)) as progress:
        found = check_corpus(
            corpus,
            id_field=reading.get("id_field"),
            title_field=reading.get("title_field"),
            text_field=reading.get("text_field"),
            searched=reading.get("searched", ()),
            fields=declared,
            progress=progress,
        )
    if json:
        print_json({"source": corpus, **asdict(found)})
    else:
        typer.echo(f"{corpus}: {found.documents:,} documents, {found.characters:,} characters")
        typer.echo(aligned(_rows(found), indent=2))
    said = [*filter(None, [chunk_refusal]), *_refusals(found)]
    if said:
        raise InputError(f"{corpus}: {'; also '.join(said)}")
    if not json:
        typer.echo("no mistake found")


def _rows(found: "CorpusReport") -> list[tuple[str, str]]:
    rows = [
        ("words", ", ".join(f"{name} {value:,.0f}" for name, value in found.words.items())),
        ("long documents", f"{found.long_documents:,} of more than 350 words"),
        ("languages", ", ".join(f"{name} {share:.0%}" for name, share in found.languages.items())),
        ("same texts", _examples(found.duplicate_texts, found.first_duplicates)),
        ("same ids", _examples(found.duplicate_ids, found.first_duplicate_places)),
        ("broken characters", f"{found.broken_characters:,} documents"),
    ]
    for name, field in found.fields.items():
        rows.append((f"field {name}", f"{field.type}, in {field.documents:,} documents"))
    rows.append(("faults", f"{found.faults:,}"))
    return [*rows, *(("", fault) for fault in found.first_faults)]


def _examples(count: int, examples: tuple[str, ...]) -> str:
    more = f" ({', '.join(examples[:3])}{', ...' if count > 3 else ''})" if examples else ""
    return f"{count:,}{more}"


def _refusals(found: "CorpusReport") -> list[str]:
    """All for which `tamis index` would refuse the corpus."""
    said = list(found.missing_fields)
    if found.faults:
        said.append(f"expected no faults, found {found.faults}: {found.first_faults[0]}")
    if found.duplicate_ids:
        again = ", ".join(found.first_duplicate_places[:3])
        said.append(
            f"expected each id once, found {found.duplicate_ids} again, such as {again}; "
            "make the ids unique"
        )
    return said if said or found.documents else ["expected documents, found none; check the corpus"]

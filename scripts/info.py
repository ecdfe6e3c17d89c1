"""``tamis info``: what a folder holds and how it was made."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.scripts.output import JsonOption, aligned, human_bytes, in_a_folder, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.index.segment.calibration import Calibration, ExactCost, Row
    from tamis.index.upkeep.inspection import LengthClass

BAR = 40  # characters of the longest bar of a histogram


def info(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=in_a_folder,
            help="Draw recall against cost to this .png or .svg file.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what an index holds, how it was made, and what its searches cost."""
    from tamis.index.upkeep.inspection import posting_lengths

    found = read_info(folder)
    lengths = posting_lengths(folder)
    if plot is not None:
        draw_calibration(found["calibration"], found["documents"], plot)
    if json:
        print_json({**found, "posting_lengths": lengths})
        return
    typer.echo(aligned(_lines(found)))
    typer.echo("\nbytes by part")
    typer.echo(aligned(_byte_rows(found["bytes"]), indent=2))
    typer.echo("\nposting lists by length")
    typer.echo(aligned(_length_rows(lengths), indent=2))


def read_info(folder: Path) -> dict[str, Any]:
    """What the manifest says of the current generation.

    Raises:
        FormatError: the folder is no finished index of this version.
        CorruptionError: the manifest is damaged.
    """
    import msgspec

    from tamis.index.files.storage import Storage
    from tamis.index.generations.manifest import read_current
    from tamis.index.generations.words import open_dictionary
    from tamis.index.upkeep.inspection import bytes_by_part

    storage = Storage(folder)
    manifest = read_current(storage)
    words = open_dictionary(storage, manifest.files)
    made: dict[str, Any] = msgspec.to_builtins(manifest.settings)
    if made["lexical"] is not None and words is not None:
        made["lexical"]["words"] = len(words)  # recorded are those of the making
    return {
        "path": str(folder),
        "documents": manifest.documents,
        "awaiting": _awaiting(folder),
        "generation": manifest.generation,
        "size_bytes": manifest.size_bytes,
        "vocab_size": manifest.vocab_size,
        "precision": manifest.precision,
        "calibration": manifest.calibration,
        "segments": len(manifest.segments),
        "format": manifest.format,
        "created": manifest.created,
        "written_by": manifest.written_by,
        "encoder": made["encoder"],
        "lexical": made["lexical"],
        "fields": made["columns"],
        "chunk": made["chunk"],
        "truncated": made["truncated"],
        "source": made["source"],
        "bytes": bytes_by_part(manifest.files),
        "files": {name: entry.size_bytes for name, entry in sorted(manifest.files.items())},
    }


def _awaiting(folder: Path) -> dict[str, int] | None:
    """Documents whose learned vectors are still to come, and how far; None where there are none."""
    from tamis.index.collection import Collection

    with closing(Collection.open(folder, "lazy")) as collection:
        awaiting = collection.index.awaiting
        return {"documents": awaiting, "encoded": collection.encoded} if awaiting else None


def awaiting_line(found: dict[str, int]) -> str:
    """What is said of documents whose learned vectors are still to come."""
    return (
        f"{found['documents']:,} documents are found by words alone until all are encoded, "
        f"{found['encoded']:,} so far; `tamis index ... --resume` goes on"
    )


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    each = found["size_bytes"] / max(found["documents"], 1)
    return [
        ("index", found["path"]),
        ("documents", f"{found['documents']:,}"),
        *([("awaiting", awaiting_line(found["awaiting"]))] if found["awaiting"] else []),
        ("size", f"{human_bytes(found['size_bytes'])}, {each:,.0f} bytes a document"),
        ("terms", f"{found['vocab_size']:,}"),
        ("encoder", _described(found["encoder"])),
        ("lexical", _described(found["lexical"])),
        ("fields", _described(found["fields"] or None)),
        ("passages", _described(found["chunk"])),
        ("cut", f"{found['truncated']:,} documents, longer than the encoder reads"),
        ("source", found["source"] or "not recorded"),
        *calibration_lines(found["calibration"], found["documents"]),
        ("generation", f"{found['generation']}, {found['segments']} segment(s)"),
        ("format", f"{found['format']}, written {found['created']} by tamis {found['written_by']}"),
    ]


def _described(settings: dict[str, Any] | None) -> str:
    if settings is None:
        return "none"
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def calibration_lines(table: "Calibration", documents: int) -> list[tuple[str, str]]:
    """The table from recall to knobs of an index of so many documents, for a terminal."""
    if not table.rows and not table.blocks:
        return [("calibration", f"none: every search is exact, {_why_exact(documents)}")]
    lines = [("calibration", f"from {table.queries} {table.source}; what it covers not is exact")]
    lines += [_row_line(row, "") for row in table.rows]
    lines += [(f"  {_kind(one)}, k {one.k}, exact", f"cost {one.cost:,.0f}") for one in table.exact]
    return lines + [_row_line(row, ", by blocks") for row in table.blocks]


def _row_line(row: "Row", how: str) -> tuple[str, str]:
    recall = row.recall if row.recall < 1 else "exact"
    return (
        f"  {_kind(row)}, k {row.k}, {recall}{how}",
        f"cut {row.cut}, slack {row.slack}: measured {row.measured}, cost {row.cost:,.0f}",
    )


def _kind(row: "Row | ExactCost") -> str:
    return "long" if row.long else "short"


def _why_exact(documents: int) -> str:
    from tamis.index.segment.calibration import SMALL

    if documents < SMALL:
        return f"as it always is below {SMALL:,} documents"
    return "as reading less saved too little or missed too much; `tamis tune` tries real queries"


def draw_calibration(table: "Calibration", documents: int, file: Path) -> None:
    """Draw the recall that was measured against the cost of a query, a line for each k and class.

    Raises:
        InputError: the table is empty, matplotlib is missing, or the file's ending is another.
    """
    from tamis.index.errors import InputError
    from tamis.index.segment.calibration import POSTINGS_A_DOCUMENT
    from tamis.scripts.extras import require

    require("eval")
    from tamis.eval import pictures

    if not table.rows:
        raise InputError(
            "expected a calibrated index, found one whose searches are all exact, "
            f"{_why_exact(documents)}: there is no curve to draw"
        )
    figure = pictures.curves(
        [*map(_point, table.rows), *map(_point, table.exact)],
        f"cost of a query, in postings read (a document scored counts {POSTINGS_A_DOCUMENT})",
        "recall measured, beside it what is asked for",
        f"Recall and cost, calibrated on {table.queries} {table.source}",
    )
    pictures.save(figure, file)


def _point(row: "Row | ExactCost") -> Any:  # noqa: ANN401  eval is imported at use
    from tamis.eval.pictures import Point
    from tamis.index.segment.calibration import ExactCost

    name = f"{_kind(row)} queries, k = {row.k}"
    if isinstance(row, ExactCost):
        return Point(name, row.cost, 1.0, "exact")
    return Point(name, row.cost, row.measured, str(row.recall))


def _byte_rows(sizes: dict[str, int]) -> list[tuple[str, str, str]]:
    whole = max(sum(sizes.values()), 1)
    rows = [
        (part, human_bytes(size), f"{100 * size / whole:.1f} %") for part, size in sizes.items()
    ]
    return [("part", "size", "share"), *rows]


def _length_rows(classes: "Sequence[LengthClass]") -> list[tuple[str, ...]]:
    most = max((each.postings for each in classes), default=1)
    rows = [
        (
            f"{each.shortest:,} to {each.longest:,}",
            f"{each.terms:,}",
            f"{each.postings:,}",
            "#" * -(-BAR * each.postings // most),
        )
        for each in classes
    ]
    return [("documents", "terms", "postings", ""), *rows]

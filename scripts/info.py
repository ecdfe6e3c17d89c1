"""``tamis info``: what a folder holds and how it was made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.scripts.output import JsonOption, aligned, human_bytes, print_json

if TYPE_CHECKING:
    from tamis.index.calibration import Calibration


def info(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    json: JsonOption = False,
) -> None:
    """Show what an index holds and how it was made. Reads the manifest alone."""
    found = read_info(folder)
    if json:
        print_json(found)
        return
    typer.echo(aligned(_lines(found)))


def read_info(folder: Path) -> dict[str, Any]:
    """What the manifest says of the current generation.

    Raises:
        FormatError: the folder is no finished index of this version.
        CorruptionError: the manifest is damaged.
    """
    from tamis.index.manifest import FORMAT, read_current
    from tamis.index.storage import Storage

    manifest = read_current(Storage(folder))
    return {
        "path": str(folder),
        "documents": manifest.documents,
        "generation": manifest.generation,
        "size_bytes": manifest.size_bytes,
        "vocab_size": manifest.vocab_size,
        "precision": manifest.precision,
        "calibration": manifest.calibration,
        "segments": len(manifest.segments),
        "format": FORMAT,
        "created": manifest.created,
        "written_by": manifest.written_by,
        "encoder": manifest.settings.get("encoder"),
        "lexical": manifest.settings.get("lexical"),
        "source": manifest.settings.get("source"),
        "files": {name: entry.size_bytes for name, entry in sorted(manifest.files.items())},
    }


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    each = found["size_bytes"] / max(found["documents"], 1)
    return [
        ("index", found["path"]),
        ("documents", f"{found['documents']:,}"),
        ("size", f"{human_bytes(found['size_bytes'])}, {each:,.0f} bytes a document"),
        ("terms", f"{found['vocab_size']:,}"),
        ("encoder", _described(found["encoder"])),
        ("lexical", _described(found["lexical"])),
        ("source", found["source"] or "not recorded"),
        *calibration_lines(found["calibration"]),
        ("generation", f"{found['generation']}, {found['segments']} segment(s)"),
        ("format", f"{found['format']}, written {found['created']} by tamis {found['written_by']}"),
    ]


def _described(settings: dict[str, Any] | None) -> str:
    if settings is None:
        return "none"
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def calibration_lines(table: "Calibration") -> list[tuple[str, str]]:
    """The table from recall to knobs, for a terminal."""
    if not table.rows:
        return [("calibration", "none: every search is exact")]
    lines = [("calibration", f"from {table.queries} {table.source}; what it covers not is exact")]
    for row in table.rows:
        kind = "long" if row.long else "short"
        lines.append(
            (
                f"  {kind}, k {row.k}, {row.recall}",
                f"cut {row.cut}, slack {row.slack}: measured {row.measured}, cost {row.cost:,.0f}",
            )
        )
    return lines

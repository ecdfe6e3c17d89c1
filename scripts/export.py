"""``tamis export``: the vectors of an index in a format of other programs."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tamis.scripts.output import JsonOption, human_bytes, in_a_folder, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.index import Index, SparseVectors


def export(
    collection: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    to: Annotated[
        Literal["anserini", "bmp", "csr", "ciff", "seismic", "opensearch", "qdrant"],
        typer.Option(
            "--to",
            "--format",
            help="JSON vectors of Anserini, a CSR matrix and its ids, inverted lists, or documents "
            "with vectors for another engine; bmp is for --queries, its documents are ciff.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            callback=in_a_folder,
            help="A .jsonl[.gz] file; .npz or .safetensors for csr, .ciff[.gz] for ciff.",
        ),
    ],
    scale: Annotated[
        float | None,
        typer.Option(min=0.001, help="Multiply weights and round them: Lucene needs impacts."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Write the vectors of the queries of this file, as queries.jsonl, in place of "
            "the documents': anserini, bmp, csr or seismic."
        ),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(
            callback=in_a_folder,
            help="Write also what each term stands for, a line each, term 0 first.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the vectors of the current generation, deleted documents left out.

    Terms are numbers and weights those that the index stores, to the last bit. Read them back with
    `tamis index --vectors FILE`.
    """
    from tamis.index import Index
    from tamis.scripts.export_queries import export_queries, write_terms

    if terms is not None:
        write_terms(collection, terms)
    if queries is not None:
        export_queries(collection, queries, to, out, scale, as_json=json)
        return
    began = perf_counter()
    index = Index.open(collection, verify="lazy")
    _write(index, to, out, scale)
    size_bytes, took_s = out.stat().st_size, perf_counter() - began
    if json:
        summary = {"path": str(out), "format": to, "documents": len(index)}
        print_json({**summary, "size_bytes": size_bytes, "took_ms": took_s * 1000})
        return
    typer.echo(f"{out}: {len(index):,} documents in {took_s:.1f} s, {human_bytes(size_bytes)}")


def _write(index: "Index", to: str, out: Path, scale: float | None) -> None:
    from tamis.index import InputError
    from tamis.index.exchange.interchange import JSON_ENDINGS, write_json_vectors

    if to == "bmp":
        raise InputError(
            "expected --queries with bmp, found none; BMP reads documents as --to ciff --scale 10"
        )
    if to in ("csr", "ciff"):
        _write_matrix(index, to, out, scale)
        return
    if not out.name.endswith(JSON_ENDINGS):
        raise InputError(f"{out}: expected a file ending in .jsonl or .jsonl.gz; rename it")
    if to == "anserini":
        write_json_vectors(out, _scaled(index, scale))
    else:
        _write_engine(index, to, out, scale)


def _write_engine(index: "Index", to: Any, out: Path, scale: float | None) -> None:  # noqa: ANN401
    from tamis.index.exchange.engines import engine_lines, stored_documents
    from tamis.index.exchange.interchange import whole_numbers, write_lines

    batches = (
        (ids, vectors if scale is None else whole_numbers(vectors, scale), records)
        for ids, vectors, records in stored_documents(index)
    )
    write_lines(out, engine_lines(batches, to))


def _write_matrix(index: "Index", to: str, out: Path, scale: float | None) -> None:
    from tamis.index import SparseVectors
    from tamis.index.exchange.ciff import write_ciff
    from tamis.index.exchange.matrices import write_csr

    ids: list[str] = []
    batches = [SparseVectors.empty(index.vocab_size)]
    for names, vectors in _scaled(index, scale):
        ids += names
        batches.append(vectors)
    every = SparseVectors.concatenate(batches)
    if to == "csr":
        write_csr(out, every, ids)
    else:
        write_ciff(out, every, ids, description=f"{index.path.name}, written by tamis")


def _scaled(index: "Index", scale: float | None) -> "Iterator[tuple[list[str], SparseVectors]]":
    from tamis.index.exchange.interchange import stored_vectors, whole_numbers

    for ids, vectors in stored_vectors(index):
        yield ids, vectors if scale is None else whole_numbers(vectors, scale)

"""``tamis export --queries``: the query vectors of texts, for the engine that has the documents."""

from typing import TYPE_CHECKING, Any

import typer

from tamis.scripts.output import print_json

if TYPE_CHECKING:
    from pathlib import Path

FORMS = ("anserini", "bmp", "csr", "seismic")


def export_queries(
    folder: "Path", queries: "Path", to: str, out: "Path", scale: float | None, *, as_json: bool
) -> None:
    """Write the vectors of the queries of a file, over the terms of an index.

    Raises:
        InputError: there is no such form for queries, a form of whole numbers lacks a scale, or a
            file cannot be read or written.
    """
    from tamis.index.errors import InputError
    from tamis.index.exchange.interchange import whole_numbers, write_lines
    from tamis.index.exchange.matrices import write_csr
    from tamis.index.exchange.query_lines import query_lines
    from tamis.retriever.corpus.queries import read_queries
    from tamis.retriever.searcher import Searcher

    if to not in FORMS:
        raise InputError(
            f"expected one of {', '.join(FORMS)} for queries, found {to!r}; for documents in ciff, "
            "write queries for bmp"
        )
    if scale is None and to in ("anserini", "bmp"):
        raise InputError(
            f"expected --scale with queries for {to}, found none: terms stand as often as they "
            "weigh; such as --scale 10"
        )
    asked = read_queries(queries)
    read = Searcher.open(folder).read(list(asked.values()))
    vectors = read.vectors if scale is None else whole_numbers(read.vectors, scale)
    if to == "csr":
        write_csr(out, vectors, list(asked))
    else:
        form: Any = to
        write_lines(out, query_lines(form, asked, vectors))
    empty = sum(vectors.rows(query, query + 1).nnz == 0 for query in range(len(vectors)))
    lost = read.vectors.nnz - vectors.nnz
    if as_json:
        summary = {"path": str(out), "format": to, "queries": len(asked), "without_terms": empty}
        print_json({**summary, "terms_rounded_to_nothing": lost})
        return
    typer.echo(f"{out}: {len(asked):,} queries")
    if empty:
        left = "empty rows" if to == "csr" else "left out"
        typer.echo(f"{empty:,} have no term of the index: {left}")
    if lost:
        typer.echo(f"{lost:,} weights were rounded to nothing; a larger --scale keeps them")


def write_terms(folder: "Path", out: "Path") -> int:
    """Write what each term of an index stands for, a line each, term 0 first; how many there are.

    Raises:
        InputError: the index holds numbers alone, or a term has a line break.
    """
    from tamis.index.errors import InputError
    from tamis.index.exchange.interchange import write_lines
    from tamis.retriever.searcher import Searcher

    searcher = Searcher.open(folder)
    if not searcher.reads_texts:
        raise InputError(
            f"{folder}: expected an index whose terms have names, found imported vectors, whose "
            "terms are numbers; leave --terms out"
        )
    vocabulary, size = searcher.vocabulary, searcher.collection.index.vocab_size
    names = [vocabulary.name(term) for term in range(size)]
    if any(name.splitlines() != [name] for name in names):
        raise InputError(
            f"{folder}: expected terms without line breaks, found one with; see it by `tamis info`"
        )
    write_lines(out, (f"{name}\n".encode() for name in names))
    return size

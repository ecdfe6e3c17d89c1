"""How hits and counts are printed, one place for all commands that search."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.index.matches import Count
    from tamis.retriever.answers import HitAnswer
    from tamis.retriever.highlights import Span
    from tamis.retriever.types import MatchedTerm, ScorePart, Total


MOST_TERMS = 30  # of a hit that are listed unless all are asked for


def found(hits: int, total: "Total | None") -> str:
    """How many hits there are, of how many matches if these were counted."""
    if hits:
        said = f"{hits} hit{'s' * (hits > 1)}"
    elif total is not None and total.count == "filter":
        said = "no document passes the filter"
    else:
        said = "no document shares a term with the query"
    if total is None:
        return said
    least = "" if total.relation == "exact" else "at least "
    return f"{said} of {least}{total.value:,} matches (by {total.count})"


def print_facets(
    facets: "Mapping[str, tuple[Count, ...]] | None", cut: "Mapping[str, int] | None"
) -> None:
    """A line for each field: its values and how many documents have each; what is left out."""
    for field, counts in (facets or {}).items():
        typer.echo(f"{field}: {', '.join(f'{_value(one.value)} {one.count:,}' for one in counts)}")
        if more := (cut or {}).get(field):
            typer.echo(f"  and {more:,} further values")


def _value(value: object) -> str:
    """A value of a facet; of a range, its limits."""
    if isinstance(value, tuple):
        return "..".join("" if limit is None else str(limit) for limit in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def heading(hit: "HitAnswer") -> str:
    """The first line of a hit: rank, score, id, title."""
    name = typer.style(hit.id, bold=True)
    return f"{hit.rank:4}  {hit.score:.4f}  {name}  {styled(hit.highlights.get('title', ()))}"


def styled(spans: "tuple[Span, ...]") -> str:
    """The spans on one line, matched words in colour where the output is a terminal."""
    text = "".join(
        typer.style(span.text, fg=typer.colors.GREEN, bold=True) if span.match else span.text
        for span in spans
    )
    return " ".join(text.split())


def explanation(
    terms: "tuple[MatchedTerm, ...]", most: int | None = MOST_TERMS
) -> list[tuple[str, ...]]:
    """The terms of a hit as rows of a table, with their sum.

    Args:
        terms: largest contribution first.
        most: how many have a row; the rest share one. None: all have.
    """
    rest = terms[most:] if most is not None else ()
    rows = [
        (
            term.term,
            f"{term.query_weight:.4f}",
            f"{term.doc_weight:.4f}",
            f"{term.contribution:.4f}",
            _kind(term),
        )
        for term in terms[: len(terms) - len(rest)]
    ]
    if rest:
        shared = sum(term.contribution for term in rest)
        rows.append((f"{len(rest)} more", "", "", f"{shared:.4f}", "listed by --explain all"))
    total = sum(term.contribution for term in terms)
    return [
        ("term", "query", "document", "contribution", ""),
        *rows,
        ("sum", "", "", f"{total:.4f}", ""),
    ]


def parts_of_score(parts: "tuple[ScorePart, ...]") -> list[tuple[str, ...]]:
    """What a reranker's score is made of, as rows of a table with their sum."""
    rows = [(one.name, one.met, f"{one.value:.4f}", f"{one.contribution:.4f}") for one in parts]
    total = sum(one.contribution for one in parts)
    return [("reranked by", "", "value", "contribution"), *rows, ("sum", "", "", f"{total:.4f}")]


def _kind(term: "MatchedTerm") -> str:
    from tamis.retriever.vocabulary import is_latent

    if is_latent(term.term):
        return "latent: of the text as a whole"
    if term.expansion:
        return "expansion: not in the document's text"
    of_fields = ", ".join(f"{name} {part:.4f}" for name, part in (term.fields or {}).items())
    return of_fields or ("word" if term.term.startswith("=") else "term")

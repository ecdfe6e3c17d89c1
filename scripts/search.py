"""``tamis search``: the best documents for a query, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tamis.scripts.corpus import OwnEncoderOption
from tamis.scripts.filters import (
    FilterOption,
    VectorOption,
    parse_boost,
    parse_facet,
    parse_filter,
    parse_sort,
    parse_vector,
)
from tamis.scripts.hits import (
    MOST_TERMS,
    explanation,
    found,
    heading,
    parts_of_score,
    print_facets,
    styled,
)
from tamis.scripts.options import refuse_beside, require_beside
from tamis.scripts.output import JsonOption, aligned, in_a_folder, print_json
from tamis.scripts.progress import START_UP, say_if_first_use

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.retriever.answers import SearchAnswer
    from tamis.retriever.rerank.lazy_reranker import LazyReranker
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Understood


_OF_ONE_QUERY = [
    *(
        "query",
        "vector",
        "explain",
        "explain_all",
        "rerank",
        "group_by",
        "group_size",
        "offset",
        "json",
    ),
    *("count", "facets", "sort", "boosts", "min_score", "syntax", "typos", "text_boosts"),
    "language",
]
UNGROUPED = "none"

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")]
QueryArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="What to search for. Further indexes may stand before it: `A B TEXT` gives one list.",
    ),
]
HitsOption = Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many hits.")]
ExactOption = Annotated[bool, typer.Option("--exact", help="Precisely the exhaustive top k.")]
RecallOption = Annotated[
    float,
    typer.Option(help="Share of the true top k to find at least, from 0 to 1; 1 is --exact."),
]
LexicalWeightOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1e6,
        help="Factor on the words of the query; 0 turns them off; by default the index's own.",
    ),
]
ExplainOption = Annotated[
    bool,
    typer.Option(
        "--explain",
        help=f"Show the terms that make up each score, {MOST_TERMS} a hit; `--explain all`: each.",
    ),
]
ExplainAllOption = Annotated[bool, typer.Option("--explain-all", hidden=True, help="All terms.")]
RerankOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="DEPTH", help="Rerank the best DEPTH documents."),
]
RerankerOption = Annotated[
    Literal["block", "dense"],
    typer.Option(
        help="block: the bundled model, which reads the documents; dense: adds the scores of "
        "vectors that `tamis index --dense-store` stored."
    ),
]
GroupByOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="One hit for each value of a field; parent: one for each document, which is the "
        "default where documents became passages; none: every passage is a hit.",
    ),
]
GroupSizeOption = Annotated[int, typer.Option(min=1, help="Most passages of a group.")]
SyntaxOption = Annotated[
    Literal["plain", "operators"],
    typer.Option(
        help='operators: "two words" in order, +must, -must not, jack* all that begin so; plain: '
        "these are text, as they are in a --batch."
    ),
]
TyposOption = Annotated[
    Literal["auto", "off"],
    typer.Option(
        help="auto: words that no document has are taken as typing errors of others, and told; off "
        "in a --batch."
    ),
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        help="Language of TEXT, such as french or fr, where the index has several; all by default."
    ),
]
TextBoostsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD:TIMES",
        help="Searched fields in which words count again, and how many times: title:3,brand.",
    ),
]
OffsetOption = Annotated[int, typer.Option(min=0, help="How many hits to pass over.")]
CountOption = Annotated[
    Literal["words", "filter"] | None,
    typer.Option(
        help="Count the documents that hold a word of the query, or all that pass the filter."
    ),
]
FacetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--facet",
        metavar="FIELD",
        help='Count the values of a field, or of ranges: {"field": "price", "ranges": [[0, 10], '
        "[10, null]]}. May be given several times.",
    ),
]
SortOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD", help="Order by a field, as price or price:desc, in place of scores."
    ),
]
BoostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--boost",
        metavar="JSON",
        help='Add to scores by a field: {"field": "published", "recency": {"half_life_days": 30}, '
        '"weight": 2}; saturation and log take numbers. May be given several times.',
    ),
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(help="Leave out hits of lower scores, which compare within one query only."),
]
BatchOption = Annotated[
    Path | None,
    typer.Option(help="Search for every query of this file, as queries.jsonl; write --out."),
]
OutOption = Annotated[
    Path | None, typer.Option(help="The run of a --batch: TREC's form, whole or not at all.")
]
DeviceOption = Annotated[
    Literal["cpu", "cuda"], typer.Option(help="cuda: search a --batch exactly on a GPU.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Queries of a --batch to answer at once; by default all cores."),
]


def search(
    context: typer.Context,
    folder: FolderArgument,
    query: QueryArgument = None,
    vector: VectorOption = None,
    k: HitsOption = 10,
    exact: ExactOption = False,
    recall: RecallOption = 0.99,
    lexical_weight: LexicalWeightOption = None,
    explain: ExplainOption = False,
    explain_all: ExplainAllOption = False,
    rerank: RerankOption = None,
    reranker: RerankerOption = "block",
    filter: FilterOption = None,  # noqa: A002  the option's name
    group_by: GroupByOption = None,
    group_size: GroupSizeOption = 3,
    offset: OffsetOption = 0,
    syntax: SyntaxOption = "operators",
    count: CountOption = None,
    facets: FacetOption = None,
    sort: SortOption = None,
    boosts: BoostOption = None,
    min_score: MinScoreOption = None,
    typos: TyposOption = "auto",
    text_boosts: TextBoostsOption = None,
    language: LanguageOption = None,
    encoder: OwnEncoderOption = None,
    batch: BatchOption = None,
    out: OutOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Search an index, or several as one. With --json, prints what the REST API answers."""
    from tamis.index.files.system import usable_cores
    from tamis.retriever.answers import search_answers
    from tamis.retriever.rerank.lazy_reranker import LazyReranker
    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.words.fields import parse_weights
    from tamis.scripts.search_several import search_indexes
    from tamis.scripts.serve import named_folders

    _check_options(context, out, device)
    *others, text = query or [""]
    for other in others:
        if not Path(other.partition("=")[2] or other).is_dir():
            raise typer.BadParameter(
                f"expected the folder of an index before the text, found {other!r}; put a text of "
                "several words in quotes"
            )
    if query:
        _check_text(text)
    asked = parse_vector(vector) if vector is not None else text if query else None
    is_listing = asked is None and any([filter, facets, sort])
    if asked is None and batch is None and not is_listing:
        raise typer.BadParameter("give a TEXT, --vector JSON, --batch FILE or --filter JSON")
    block = LazyReranker() if rerank is not None and reranker == "block" else None
    folders = named_folders([str(folder), *others]) if others else {"": folder}
    searchers = {
        name: Searcher.open(one, reranker=block, encoder=encoder) for name, one in folders.items()
    }
    searcher = next(iter(searchers.values()))
    options = SearchOptions(
        k=k,
        exact=exact,
        recall=recall,
        lexical_weight=lexical_weight,
        explain=explain or explain_all,
        rerank=rerank,
        reranker=reranker,
        filter=parse_filter(filter),
        group_by=None if batch or is_listing or sort else _grouping(searchers, group_by),
        group_size=group_size,
        offset=offset,
        syntax=syntax,
        count=count,
        facets=[parse_facet(one) for one in facets or ()],
        sort=[parse_sort(one) for one in sort or ()],
        boosts=[parse_boost(one) for one in boosts or ()],
        min_score=min_score,
        typos=typos,
        text_boosts=dict(parse_weights(text_boosts)) if text_boosts else None,
        language=language,
        threads=threads or usable_cores(),
    )
    _get_ready(searchers, block)
    most_terms = None if explain_all else MOST_TERMS
    if others:
        search_indexes(searchers, text, options, most_terms=most_terms, as_json=json)
    elif batch is None:
        (answer,) = search_answers(searcher, [asked], options, highlight=not json)
        print_json(answer) if json else _print(answer, options.explain, most_terms)
    elif out is not None:
        from tamis.scripts.search_batch import search_batch

        typer.echo(search_batch(searcher, batch, out, options, device))


def _get_ready(searchers: "Mapping[str, Searcher]", reranker: "LazyReranker | None") -> None:
    """Load what the search needs, which is told apart from the search itself."""
    if not all(one.collection.index.spares_loops for one in searchers.values()):
        say_if_first_use()
    for one in searchers.values():
        one.warm_up()
    if reranker is not None:
        reranker.loaded()
    START_UP.over()


def _check_options(context: typer.Context, out: Path | None, device: str) -> None:
    """Refuse options that others would silently win over, and a file that cannot be written."""
    refuse_beside(context, "exact", ["recall"], "an exact search finds all of them")
    require_beside(context, "group_by", ["group_size"])
    require_beside(context, "rerank", ["reranker"])
    refuse_beside(context, "vector", ["query", "lexical_weight"], "it has the weights itself")
    refuse_beside(context, "batch", _OF_ONE_QUERY, "it writes ids and scores of many queries")
    require_beside(context, "batch", ["out", "device", "threads"])
    require_beside(context, "out", ["batch"])
    in_a_folder(out)
    if device == "cuda":
        refuse_beside(context, "device", ["recall", "threads"], "a GPU searches exactly")


def _grouping(searchers: "Mapping[str, Searcher]", asked: str | None) -> str | None:
    """The field to group by: as asked, or the document where documents became passages."""
    from tamis.retriever.corpus.chunking import PARENT

    if asked is None:
        settings = [one.collection.settings for one in searchers.values()]
        return PARENT if all(one.chunk is not None for one in settings) else None
    return None if asked == UNGROUPED else asked


def _check_text(query: str) -> None:
    from tamis.index.errors import InputError

    try:
        query.encode()
    except UnicodeEncodeError:
        raise InputError(
            "expected a query in UTF-8, found other bytes; check the encoding"
        ) from None
    if not query.strip():
        raise InputError("expected a query with some text, found a blank one; add words")


def _print(answer: "SearchAnswer", explain: bool, most_terms: int | None) -> None:
    for hit in answer.hits:
        typer.echo(heading(hit))
        typer.echo(f"      {styled(hit.highlights.get('text', ()))}")
        if explain:
            typer.echo(aligned(explanation(hit.matched_terms, most_terms), indent=6))
        if hit.score_parts:
            typer.echo(aligned(parts_of_score(hit.score_parts), indent=6))
        for passage in hit.passages[1:]:
            text = styled(passage.highlights.get("text", ()))
            typer.echo(f"      {passage.score:.4f}  {passage.id}  {text}")
        typer.echo()
    times = answer.timings
    typer.echo(
        f"{found(len(answer.hits), answer.total)}; "
        f"{answer.took_ms:.1f} ms: encode {times.encode_ms:.1f}, "
        f"retrieve {times.retrieve_ms:.1f}, fetch {times.fetch_ms:.1f}, "
        f"rerank {times.rerank_ms:.1f}; start-up {START_UP.over() * 1000:.0f} ms before"
    )
    for correction in answer.corrections:
        typer.echo(f"showing results for {correction['to']}, no document has {correction['from']}")
    if answer.understood is not None:
        typer.echo("\n".join(_understood(answer.understood)))
    if answer.reranked is not None and answer.reranked.not_stored:
        typer.echo(
            f"{answer.reranked.not_stored} of {answer.reranked.documents} reranked documents are "
            "not among what is stored for the reranker, and were read; store them with "
            "`tamis optimize --dense-store ENCODER` or `--rerank-cache`"
        )
    print_facets(answer.facets, answer.facets_cut)
    if answer.awaiting:
        typer.echo(f"{answer.awaiting:,} documents are found by words alone until all are encoded")
    if answer.unknown_terms:
        typer.echo(f"in no document: {', '.join(answer.unknown_terms)}")
    if answer.terms_cut:
        typer.echo(f"the query's {answer.terms_cut} lightest terms were left out: it has too many")


def _understood(understood: "Understood") -> list[str]:
    """What the query was taken to mean, a line for each thing."""
    said = {
        "in order": [f'"{phrase}"' for phrase in understood.phrases],
        "with": understood.must,
        "without": understood.must_not,
    }
    said |= {
        f"{one.prefix}*": [f"{one.words:,} word{'s' * (one.words != 1)}, ranked by {one.used}"]
        for one in understood.prefixes
    }
    said["also"] = [f"{one['to']} for {one['from']}" for one in understood.also]
    said["left out"] = understood.left_out
    return [f"{what}: {', '.join(words)}" for what, words in said.items() if words] + list(
        understood.notes
    )

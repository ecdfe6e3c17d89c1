"""``tamis index``: a corpus becomes a folder that can be searched."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tamis.scripts.build import (
    WORDS_ALONE,
    TextSettings,
    declared,
    index_corpus_of,
    index_options,
)
from tamis.scripts.check import print_check
from tamis.scripts.corpus import (
    WHOLE,
    ChunkOption,
    DeviceOption,
    EncoderOption,
    IdFieldOption,
    Reading,
    SearchedFieldsOption,
    SkipBadOption,
    TitleFieldOption,
    corpus_argument,
    reading_of,
    say_skipped,
    skipped,
    text_fields_of,
)
from tamis.scripts.options import is_given, refuse_beside, require_beside
from tamis.scripts.output import JsonOption, human_bytes, print_json
from tamis.scripts.progress import START_UP, say_if_first_use
from tamis.scripts.stores import (
    BITS,
    BUDGET_MIB,
    DenseStoreOption,
    RerankBitsOption,
    RerankBudgetOption,
    RerankCacheOption,
    Stores,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.index.segment.quantize import Precision

OF_TEXTS = (  # options that say something of texts
    "lexical", "language", "language_field", "id_field", "title_field", "text_field", "chunk",
    "memory", "check", "device", "skip_bad", "piece", "cluster",
)  # fmt: skip


OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder to write; new, or empty.")
]
LexicalOption = Annotated[bool, typer.Option(help="Index stemmed words beside the learned terms.")]
LanguageOption = Annotated[
    str,
    typer.Option(
        help="Language of the corpus, for stems and stop words: german, french, ...; none; "
        "bigrams where words are not divided by spaces. Several by commas: each document is read "
        "in its own."
    ),
]
LanguageFieldOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="Field that says a document's language, by name or code, where --language gives "
        "several; found by py3langid without it.",
    ),
]
FieldsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:TYPE],...",
        help="Fields to filter searches by; types string, integer, float, boolean, date, "
        "each with [] for lists, or inferred.",
    ),
]
PrecisionOption = Annotated[
    Literal["f32", "f16", "u16", "u8"],
    typer.Option(help="How weights are stored: f32 as they are; the others rounded, in less."),
]
VectorsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Index vectors instead: a .safetensors file of `tamis encode`, a .npz file of "
        "scipy, inverted lists (.ciff, also .gz), or JSON vectors of Anserini, Seismic, "
        "OpenSearch or Qdrant (.jsonl, .json, also .gz or .zst, or a folder of them). Terms "
        "are numbers, or with --encoder the pieces of the encoder that made the vectors.",
    ),
]
VocabSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Terms there are, where the terms of --vectors are numbers; by default the "
        "largest number and one.",
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Stay within so much memory, such as 2GiB, or refuse the corpus; no bound by default.",
    ),
]
PieceOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Read and encode one of N equal shares of the corpus alone, for `tamis assemble`.",
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto|ADDRESS",
        help="Index by N workers of Ray on this machine, one a core or GPU, or those of a cluster "
        "that runs. All must reach CORPUS and DIR.",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with a build that was stopped.")
]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Report on the corpus and all its mistakes; write nothing.")
]


def index(
    context: typer.Context,
    corpus: Annotated[str | None, corpus_argument] = None,
    out: OutOption = None,
    encoder: EncoderOption = "default",
    lexical: LexicalOption = True,
    language: LanguageOption = "english",
    language_field: LanguageFieldOption = None,
    id_field: IdFieldOption = None,
    title_field: TitleFieldOption = None,
    text_field: SearchedFieldsOption = None,
    fields: FieldsOption = None,
    chunk: ChunkOption = None,
    precision: PrecisionOption = "f32",
    device: DeviceOption = None,
    vectors: VectorsOption = None,
    vocab_size: VocabSizeOption = None,
    memory: MemoryOption = None,
    piece: PieceOption = None,
    cluster: ClusterOption = None,
    resume: ResumeOption = False,
    skip_bad: SkipBadOption = False,
    check: CheckOption = False,
    rerank_cache: RerankCacheOption = False,
    dense_store: DenseStoreOption = None,
    rerank_budget_mib: RerankBudgetOption = BUDGET_MIB,
    rerank_bits: RerankBitsOption = BITS,
    json: JsonOption = False,
) -> None:
    """Build an index of a corpus.

    CORPUS is a BEIR folder, .jsonl, .json, .csv or .tsv (with a header, or MS MARCO's), each also
    .gz or .zst, .parquet, a folder of texts (HTML, Markdown, reStructuredText, AsciiDoc, Org), a
    folder of JSON or Parquet files, or - for JSON lines on standard input.
    """
    _check_options(context, corpus, fields, chunk)
    searched = text_fields_of(text_field)
    if searched and not lexical:
        raise typer.BadParameter("text fields weigh words: leave out --no-lexical")
    reading = reading_of(id_field, title_field, text_field, skip_bad=skip_bad, searched=searched)
    if check and corpus is not None:
        print_check(corpus, reading, declared(fields), _chunk_refusal(chunk, encoder), json)
        return
    if out is None:
        raise typer.BadParameter("give the folder to write: --out DIR")
    if piece is not None or cluster is not None:
        from tamis.scripts.cluster import index_by_workers
        from tamis.scripts.pieces import print_piece
    stores = Stores(rerank_cache, dense_store, rerank_budget_mib, rerank_bits)
    stores.check()
    say_if_first_use()
    with _saying_how_to_go_on(vectors):
        if vectors is not None:
            spelled_by = encoder if is_given(context, "encoder") else None
            _index_vectors(vectors, out, spelled_by, vocab_size, fields, precision, resume=resume)
        elif corpus is not None:
            words = language if lexical else None
            settings = TextSettings(
                words, fields, chunk, precision, reading, searched, language_field
            )
            if piece is not None:
                options = index_options(corpus, encoder, settings, memory, device, resume=resume)
                print_piece(corpus, piece, out, settings.reading, options, json)
                return
            if cluster is not None:
                index_by_workers(corpus, out, encoder, settings, cluster, memory, resume=resume)
            else:
                index_corpus_of(corpus, out, encoder, settings, memory, device, resume=resume)
    stores.write(out, device)
    say_skipped(reading)
    _print_summary(out, START_UP.since_s(), reading, json)


def _check_options(
    context: typer.Context, corpus: str | None, fields: str | None, chunk: str | None
) -> None:
    """Refuse what cannot be indexed, before the corpus is read."""
    from tamis.retriever.corpus.chunking import Chunking

    if (corpus is None) == (context.params["vectors"] is None):
        raise typer.BadParameter("give a CORPUS or --vectors FILE, one of the two")
    refuse_beside(context, "vectors", OF_TEXTS, "vectors have no texts")
    require_beside(context, "vectors", ["vocab_size"])
    if context.params["vectors"] is not None:
        refuse_beside(context, "encoder", ["vocab_size"], "its vocabulary is the encoder's")
    require_beside(context, "rerank_cache", ["rerank_bits"])
    if not is_given(context, "dense_store"):
        require_beside(context, "rerank_cache", ["rerank_budget_mib"])
    stores = ("rerank_cache", "dense_store")
    refuse_beside(context, "piece", [*stores, "check"], "a piece is no index yet")
    refuse_beside(context, "cluster", ["piece", "device"], "its workers take pieces and devices")
    declared(fields)
    if chunk and chunk != WHOLE:
        Chunking.parse(chunk)


def _chunk_refusal(chunk: str | None, encoder: str) -> str:
    """Why passages of this size are refused; empty where they are not."""
    from tamis.index.errors import InputError
    from tamis.retriever.corpus.chunking import Chunking
    from tamis.retriever.models.encoder import load_encoder

    if not chunk or chunk == WHOLE or encoder == WORDS_ALONE:
        return ""
    try:
        Chunking.parse(chunk).check(load_encoder(encoder))
    except InputError as error:
        return str(error)
    return ""


def _index_vectors(
    path: Path,
    out: Path,
    encoder: str | None,
    vocab_size: int | None,
    fields: str | None,
    precision: "Precision",
    *,
    resume: bool,
) -> None:
    """Index a file or folder of vectors; an encoder names their terms, and those of queries."""
    from tamis.retriever.builds.importing import import_vectors
    from tamis.retriever.models.lazy_encoder import LazyEncoder

    START_UP.over()
    import_vectors(
        path,
        out,
        encoder=LazyEncoder.of(encoder) if encoder is not None else None,
        vocab_size=vocab_size,
        fields=declared(fields),
        precision=precision,
        resume=resume,
    )


def _print_summary(out: Path, took_s: float, reading: Reading, json: bool) -> None:
    from tamis.scripts.info import read_info

    found: dict[str, Any] = read_info(out)
    documents, size_bytes = found["documents"], found["size_bytes"]
    if json:
        left_out = skipped(reading)
        told = {"skipped": vars(left_out)} if left_out is not None else {}
        times = {"took_ms": took_s * 1000, "start_up_ms": START_UP.over() * 1000}
        print_json({**found, **told, **times})
        return
    typer.echo(
        f"{out}: {documents:,} documents in {took_s:.1f} s ({documents / took_s:,.0f}/s), "
        f"{human_bytes(size_bytes)} ({size_bytes / max(documents, 1):,.0f} bytes a document); "
        f"start-up {START_UP.over():.1f} s before"
    )
    for name, kind in found["fields"].items():
        typer.echo(f"field {name}: {kind}")


@contextmanager
def _saying_how_to_go_on(vectors: Path | None) -> "Iterator[None]":
    """Give an interruption its remedy."""
    try:
        yield
    except KeyboardInterrupt:
        again = "nothing can be searched yet; run the same command with --resume"
        kept = "what is done is kept; run the same command with --resume to go on"
        raise KeyboardInterrupt(kept if vectors is None else again) from None

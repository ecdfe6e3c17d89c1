"""``tamis index``: a corpus becomes a folder that can be searched."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.scripts.check import print_check
from tamis.scripts.corpus import (
    ChunkOption,
    DeviceOption,
    EncoderOption,
    IdFieldOption,
    Reading,
    TextFieldOption,
    TitleFieldOption,
    corpus_argument,
    count_passages,
)
from tamis.scripts.keys import (
    BITS,
    BUDGET_MIB,
    RerankBitsOption,
    RerankBudgetOption,
    RerankCacheOption,
    store_keys,
)
from tamis.scripts.output import JsonOption, human_bytes, print_json, warnings_said
from tamis.scripts.progress import progress_on_terminal, say_if_first_use

if TYPE_CHECKING:
    from tamis.retriever.lexical import LexicalConfig

WORDS_ALONE = "bm25"


def index(
    corpus: Annotated[str | None, corpus_argument] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; must not hold an index.")
    ] = None,
    encoder: EncoderOption = "default",
    lexical: Annotated[
        bool, typer.Option(help="Index stemmed words beside the learned terms.")
    ] = True,
    language: Annotated[
        str, typer.Option(help="Language of the corpus, for stems and stop words.")
    ] = "english",
    id_field: IdFieldOption = None,
    title_field: TitleFieldOption = None,
    text_field: TextFieldOption = None,
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:TYPE],...",
            help="Fields to filter searches by; types string, integer, float, date, or inferred.",
        ),
    ] = None,
    chunk: ChunkOption = None,
    device: DeviceOption = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Index vectors instead: a .safetensors file of `tamis encode`, a .npz file of "
            "scipy, inverted lists (.ciff, also .gz), or JSON vectors of Anserini, Seismic, "
            "OpenSearch or Qdrant (.jsonl, also .gz, or a folder of them).",
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(min=1, help="Terms there are, where JSON vectors number their terms."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Refuse a corpus that needs more, such as 4GiB."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped build.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Report on the corpus and all its mistakes; write nothing."),
    ] = False,
    rerank_cache: RerankCacheOption = False,
    rerank_budget_mib: RerankBudgetOption = BUDGET_MIB,
    rerank_bits: RerankBitsOption = BITS,
    json: JsonOption = False,
) -> None:
    """Build an index of a corpus.

    CORPUS is a BEIR folder, .jsonl, .json, .csv or .tsv (with a header, or MS MARCO's), each also
    .gz or .zst, .parquet, a folder of text, Markdown and HTML files, a folder of JSON or Parquet
    files, or - for JSON lines on standard input.
    """
    if (corpus is None) == (vectors is None):
        raise typer.BadParameter("give a CORPUS or --vectors FILE, one of the two")
    reading = Reading(id_field=id_field, title_field=title_field, text_field=text_field)
    if vectors is not None and (fields or chunk or resume or check or any(reading.values())):
        raise typer.BadParameter(
            "--vectors takes none of --fields, --chunk, --resume, --check, --id-field, "
            "--title-field and --text-field: vectors have no texts"
        )
    _check_settings(fields, chunk)
    if check and corpus is not None:
        print_check(corpus, reading, json)
        return
    if out is None:
        raise typer.BadParameter("give the folder to write: --out DIR")
    say_if_first_use()
    began = perf_counter()
    try:
        if vectors is not None:
            _index_vectors(vectors, out, encoder, vocab_size)
        elif corpus is not None:
            index_corpus_of(
                corpus,
                out,
                encoder,
                language if lexical else None,
                reading=reading,
                fields=fields,
                chunk=chunk,
                memory=memory,
                device=device,
                resume=resume,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(vectors)) from None
    if rerank_cache:
        store_keys(out, rerank_budget_mib, rerank_bits, device)
    _print_summary(out, perf_counter() - began, json)


def _check_settings(fields: str | None, chunk: str | None) -> None:
    """Refuse settings that no corpus can be indexed with, before it is read."""
    from tamis.retriever.chunking import Chunking
    from tamis.retriever.fields import parse_fields

    if fields:
        parse_fields(fields)
    if chunk:
        Chunking.parse(chunk)


def index_corpus_of(
    corpus: str,
    out: Path,
    encoder: str,
    language: str | None = "english",
    *,
    reading: Reading = Reading(),  # noqa: B008  never changed
    fields: str | None = None,
    chunk: str | None = None,
    memory: str | None = None,
    device: str | None = None,
    resume: bool = False,
) -> None:
    """Read, encode and index, with progress on a terminal; no language, no lexical channel."""
    from tamis.retriever.chunking import Chunking
    from tamis.retriever.encoder import load_encoder
    from tamis.retriever.fields import parse_fields
    from tamis.retriever.indexing import index_corpus
    from tamis.retriever.memory import parse_bytes
    from tamis.retriever.passages import read_passages

    passages = read_passages(corpus, **reading)
    with warnings_said(), progress_on_terminal(lambda: count_passages(corpus)) as progress:
        index_corpus(
            passages,
            out,
            encoder=None if encoder == WORDS_ALONE else load_encoder(encoder, device=device),
            lexical=_lexical_config(language),
            source=corpus,
            fields=parse_fields(fields) if fields else {},
            chunking=Chunking.parse(chunk) if chunk else None,
            memory_bytes=parse_bytes(memory) if memory else None,
            resume=resume,
            progress=progress,
        )


def _lexical_config(language: str | None) -> "LexicalConfig | None":
    from tamis.retriever.lexical import LexicalConfig

    return None if language is None else LexicalConfig(language=language)


def _index_vectors(path: Path, out: Path, encoder: str, vocab_size: int | None) -> None:
    from tamis.index import Index, SparseVectors
    from tamis.index.ciff import CIFF
    from tamis.index.interchange import NPZ, read_csr, read_ids

    if path.suffix == ".safetensors":
        Index.build(out, SparseVectors.load(path), read_ids(path))
    elif path.suffix == NPZ:
        Index.build(out, read_csr(path), read_ids(path))
    elif path.name.endswith(CIFF):
        _index_ciff(path, out, encoder, vocab_size)
    else:
        _index_json_vectors(path, out, encoder, vocab_size)


def _index_ciff(path: Path, out: Path, encoder: str, vocab_size: int | None) -> None:
    """Index inverted lists whose terms are numbers, or else spelled as the encoder does."""
    from tamis.index import Index
    from tamis.index.ciff import read_ciff, renumbered

    found = read_ciff(path)
    if all(term.isascii() and term.isdecimal() for term in found.terms):
        largest = max(map(int, found.terms), default=0)
        vectors = renumbered(found, vocab_size or largest + 1, int)
    else:
        from tamis.retriever.encoder import load_query_encoder

        model = load_query_encoder(encoder)
        vectors = renumbered(found, model.description.vocab_size, model.term_id)
    Index.build(out, vectors, found.ids)


def _index_json_vectors(path: Path, out: Path, encoder: str, vocab_size: int | None) -> None:
    """Index a JsonVectorCollection whose terms are numbers, or else spelled as the encoder does."""
    from tamis.index import Index
    from tamis.index.interchange import JsonVectors

    found = JsonVectors.survey(path)
    if found.numbered:
        batches = found.batches(vocab_size or max(found.largest + 1, 1))
    else:
        from tamis.retriever.encoder import load_query_encoder

        model = load_query_encoder(encoder)
        batches = found.batches(model.description.vocab_size, model.term_id)
    Index.build(out, batches, found.ids)


def _print_summary(out: Path, took_s: float, json: bool) -> None:
    from tamis.scripts.info import read_info

    found: dict[str, Any] = read_info(out)
    documents, size_bytes = found["documents"], found["size_bytes"]
    if json:
        print_json({**found, "took_ms": took_s * 1000})
        return
    typer.echo(
        f"{out}: {documents:,} documents in {took_s:.1f} s ({documents / took_s:,.0f}/s), "
        f"{human_bytes(size_bytes)} ({size_bytes / max(documents, 1):,.0f} bytes a document)"
    )
    for name, kind in found["fields"].items():
        typer.echo(f"field {name}: {kind}")


def _how_to_go_on(vectors: Path | None) -> str:
    if vectors is not None:
        return "nothing can be searched yet; run the same command again"
    return "what is done is kept; run the same command with --resume to go on"

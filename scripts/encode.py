"""``tamis encode``: a corpus becomes a file of sparse vectors, and a file of their ids."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.scripts.build import WORDS_ALONE
from tamis.scripts.corpus import (
    DeviceOption,
    IdFieldOption,
    ModelOption,
    SkipBadOption,
    TextFieldOption,
    TitleFieldOption,
    corpus_argument,
    count_passages,
    reading_of,
    say_skipped,
    text_fields_of,
)
from tamis.scripts.output import JsonOption, in_a_folder, print_json
from tamis.scripts.progress import progress_on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.index import SparseVectors
    from tamis.index.files.progress import Progress as Report
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Passage

CHUNK_DOCUMENTS = 2048


def encode(
    corpus: Annotated[str, corpus_argument],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", callback=in_a_folder, help="The .safetensors file to write."),
    ],
    encoder: ModelOption = "default",
    id_field: IdFieldOption = None,
    title_field: TitleFieldOption = None,
    text_field: TextFieldOption = None,
    skip_bad: SkipBadOption = False,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Encode a corpus to sparse vectors, without an index.

    Writes OUT.safetensors with the tensors offsets, terms and weights (compressed sparse rows),
    and OUT.ids.txt with one id a line. Index them with `tamis index --vectors`.
    """
    from tamis.index import InputError
    from tamis.index.exchange.matrices import ids_file, write_ids
    from tamis.retriever.corpus.passages import read_passages
    from tamis.retriever.models.encoder import load_encoder

    if out.suffix != ".safetensors":
        raise typer.BadParameter(f"expected a file ending in .safetensors, found {out}")
    if text_fields_of(text_field):
        raise typer.BadParameter("--text-field names one field: only `tamis index` takes several")
    if encoder == WORDS_ALONE:
        raise InputError(
            "expected an encoder with vectors of its own, found 'bm25'; words are weighed "
            "when a corpus is indexed: `tamis index --encoder bm25`, then `tamis export`"
        )
    began = perf_counter()
    model = load_encoder(encoder, device=device)
    reading = reading_of(id_field, title_field, text_field, skip_bad=skip_bad)
    with progress_on_terminal(lambda: count_passages(corpus)) as report:
        vectors, ids = _encode_all(read_passages(corpus, **reading), model, report)
    say_skipped(reading)
    if not ids:
        raise InputError(f"{corpus}: expected documents, found none; check the corpus")
    took_s = perf_counter() - began
    description = model.description
    vectors.save(out, {"encoder": description.name, "fingerprint": description.fingerprint})
    write_ids(out, ids)
    summary = {
        "path": str(out),
        "ids_path": str(ids_file(out)),
        "documents": len(vectors),
        "nnz": vectors.nnz,
        "vocab_size": vectors.vocab_size,
        "encoder": {"name": description.name, "fingerprint": description.fingerprint},
        "took_ms": took_s * 1000,
    }
    if json:
        print_json(summary)
        return
    typer.echo(
        f"{out}: {len(vectors):,} documents, {vectors.nnz / max(len(vectors), 1):,.1f} terms each, "
        f"in {took_s:.1f} s ({len(vectors) / took_s:,.0f}/s)"
    )


def _encode_all(
    passages: "Iterable[Passage]", encoder: "Encoder", report: "Report | None"
) -> "tuple[SparseVectors, list[str]]":
    from tamis.index import SparseVectors

    batches: list[SparseVectors] = []
    ids: list[str] = []
    texts: list[str] = []

    def encode_texts() -> None:
        batches.append(encoder.encode_documents(texts))
        texts.clear()
        if report is not None:
            report("encode", len(ids), None)

    for passage in passages:
        ids.append(passage.doc_id)
        texts.append(passage.content)
        if len(texts) == CHUNK_DOCUMENTS:
            encode_texts()
    if texts:
        encode_texts()
    return SparseVectors.concatenate(batches or [SparseVectors.empty(1)]), ids

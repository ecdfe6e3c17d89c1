"""Whether the texts of a folder are too long for an encoder, told from a sample of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.index.errors import InputError
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.corpus.chunking import NUMBER, PARENT, Chunking
from tamis.retriever.corpus.passages import corpus_files, is_text_folder
from tamis.retriever.corpus.texts import read_text_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.retriever.corpus.blocks import TextFile
    from tamis.retriever.models.encoder import Encoder

SAMPLE = 32  # files
TOKENS, OVERLAP_PART = 200, 5  # overlap: a fifth


def suited_chunking(source: str | Path, encoder: Encoder | None) -> Chunking | None:
    """How to divide the texts of a folder; None where the encoder reads the sample to its end.

    Args:
        source: as for `read_passages`; records are never divided unasked.
        encoder: that is to read the texts; None for words alone, which have no bound.

    Raises:
        InputError: there is no such corpus.

    Warns:
        CorpusWarning: what is done, and how to have it otherwise.
    """
    if encoder is None or not is_text_folder(source):
        return None
    texts = list(_sample(Path(source)))
    longest = encoder.description.max_length
    counts = encoder.count_tokens([f"{one.title} {one.text}" for one in texts]) if texts else []
    long = sum(tokens > longest for tokens in counts)
    if not long:
        return None
    found = f"{source}: {long} of {len(texts)} texts looked at are longer than the {longest} tokens"
    if any({PARENT, NUMBER} & set(one.fields) for one in texts):
        warnings.warn(
            f"{found} that the encoder reads, and stay whole, for they have a field {PARENT!r} or "
            f"{NUMBER!r}, which passages have for themselves",
            CorpusWarning,
            stacklevel=2,
        )
        return None
    tokens = min(TOKENS, longest - encoder.count_tokens([""])[0])
    chosen = Chunking(tokens, tokens // OVERLAP_PART)
    warnings.warn(
        f"{found} that the encoder reads; documents become passages of {tokens} tokens, as with "
        f"--chunk {tokens}:{chosen.overlap}; --chunk none leaves them whole",
        CorpusWarning,
        stacklevel=2,
    )
    return chosen


def _sample(source: Path) -> Iterator[TextFile]:
    """Texts spread over the files; those that cannot be read are told elsewhere."""
    files = corpus_files(source)
    count = min(len(files), SAMPLE)
    for at in range(count):
        try:
            yield read_text_file(files[at * len(files) // count])
        except InputError:
            continue

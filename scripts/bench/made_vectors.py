"""`tamis bench vectors`: a folder of real vectors to measure with, and what is composed of them.

    windows/    vectors of sentence windows, and each window's passage
    documents/  real passages, the collection that composed ones must resemble
    short/      real questions by the query side that ships
    long/       published queries of a learned encoder, where a file of them is given

Vectors are raw arrays that are mapped. A folder whose ``shape.json`` is there is whole: a run that
was cut off goes on with what lacks one.
"""

from __future__ import annotations

import gc
import json
import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index import SparseVectors
from tamis.index.errors import InputError
from tamis.index.files.lines import open_bytes
from tamis.index.files.system import free_bytes
from tamis.retriever.corpus.passages import read_passages
from tamis.scripts.bench.composed import Recipe, World, composed
from tamis.scripts.bench.windows import sentence_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.retriever.models.encoder import SparseEncoder

SEED = 7
ENCODED_AT_ONCE = 200_000  # texts
BYTES_A_TEXT = 1200  # of a window's vector: 150 terms
IMPACT_SCALE = 1000.0  # of published queries, whose weights are whole numbers
_ARRAYS = {"offsets": "<i8", "terms": "<i4", "weights": "<f4"}
_SHAPE = "shape.json"
RECIPE = "recipe.json"


def make_vectors(
    folder: Path,
    documents: Path,
    passages: Sequence[Path],
    questions: Path,
    published: Path | None,
    device: str,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Encode texts with the encoder that ships; what is whole already stays.

    Args:
        folder: where vectors go.
        documents: passages that are encoded as they are.
        passages: whose sentence windows are encoded; ``documents`` among them.
        questions: one a line.
        published: JSON lines of ``{"vector": {piece: impact}}``.
        device: of the encoder.
        tell: told about each step.

    Raises:
        InputError: the disk has too little room, or a file is not there.
    """
    from tamis.retriever.models.encoder import SparseEncoder

    folder.mkdir(parents=True, exist_ok=True)
    encoder = SparseEncoder.load(device=device)
    if not is_whole(folder / "windows"):
        made = sentence_windows(passage for file in passages for passage in read_passages(file))
        tell(f"{len(made.texts)} windows of {made.passages[-1] + 1} passages")
        check_room(folder, len(made.texts) * BYTES_A_TEXT)
        np.array(made.passages, "<i8").tofile(folder / "passages")
        write_vectors(folder / "windows", _encoded(encoder, made.texts, tell))
    if not is_whole(folder / "documents"):
        texts = [passage.content for passage in read_passages(documents)]
        check_room(folder, len(texts) * BYTES_A_TEXT)
        write_vectors(folder / "documents", _encoded(encoder, texts, tell))
    lines = dict.fromkeys(filter(None, map(str.strip, questions.read_text("utf-8").splitlines())))
    write_vectors(folder / "short", [encoder.encode_queries(list(lines))])
    if published is not None:
        write_vectors(folder / "long", [_published(published, encoder)])
    return {
        each.parent.name: json.loads(each.read_text())
        for each in sorted(folder.glob(f"*/{_SHAPE}"))
    }


def read_world(folder: Path) -> World:
    """The windows of a folder of `make_vectors`, in an order in which near ones are near."""
    return World.ordered(open_vectors(folder / "windows"), np.fromfile(folder / "passages", "<i8"))


def read_recipe(folder: Path) -> Recipe:
    """What the gate chose; the usual one where it did not run."""
    file = folder / RECIPE
    return Recipe(**json.loads(file.read_text())) if file.exists() else Recipe()


def compose_into(folder: Path, world: World, documents: int, recipe: Recipe) -> SparseVectors:
    """A composed collection, from its folder where it is there already."""
    if not is_whole(folder):
        check_room(folder.parent, documents * BYTES_A_TEXT)
        write_vectors(folder, composed(world, documents, recipe, SEED))
    return open_vectors(folder)


def write_vectors(folder: Path, batches: Iterable[SparseVectors]) -> None:
    """Write batches as one collection of raw arrays; its shape comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows, nnz, vocab_size = 0, 0, 0
    with (
        (folder / "offsets").open("wb") as offsets,
        (folder / "terms").open("wb") as terms,
        (folder / "weights").open("wb") as weights,
    ):
        offsets.write(bytes(8))
        for batch in batches:
            offsets.write((batch.offsets[1:] + nnz).astype("<i8").data)
            terms.write(batch.terms.astype("<i4").data)
            weights.write(batch.weights.astype("<f4").data)
            rows, nnz, vocab_size = rows + len(batch), nnz + batch.nnz, batch.vocab_size
    shape = {"rows": rows, "nnz": nnz, "vocab_size": vocab_size}
    (folder / _SHAPE).write_text(json.dumps(shape))


def open_vectors(folder: Path) -> SparseVectors:
    """Map what `write_vectors` wrote.

    Raises:
        InputError: it is not there, or not whole.
    """
    if not is_whole(folder):
        raise InputError(
            f"{folder}: expected vectors, found none; make them: `tamis bench vectors`"
        )
    shape = json.loads((folder / _SHAPE).read_text())
    offsets, terms, weights = (_mapped(folder / name, kind) for name, kind in _ARRAYS.items())
    return SparseVectors.trusted(offsets, terms, weights, shape["vocab_size"])


def _mapped(file: Path, kind: str) -> NDArray[Any]:
    return np.asarray(np.memmap(file, np.dtype(kind), "r"))


def is_whole(folder: Path) -> bool:
    """Whether a folder's vectors were written to their end."""
    return (folder / _SHAPE).is_file()


def check_room(folder: Path, wanted: int) -> None:
    """Refuse work that the disk has no room for (InputError)."""
    there = free_bytes(folder)
    if there is not None and there < wanted:
        raise InputError(
            f"{folder}: expected {wanted / 1e9:.1f} GB of free disk, found {there / 1e9:.1f}; "
            "take another folder or fewer documents"
        )


def _encoded(
    encoder: SparseEncoder, texts: Sequence[str], tell: Callable[[str], None]
) -> Iterator[SparseVectors]:
    """The texts' vectors, in their order, part by part."""
    for first in range(0, len(texts), ENCODED_AT_ONCE):
        part = encoder.encode_documents(texts[first : first + ENCODED_AT_ONCE])
        tell(f"{first + len(part)} of {len(texts)} encoded")
        yield part
        gc.collect()


def _published(file: Path, encoder: SparseEncoder) -> SparseVectors:
    """Queries of another encoder over the same pieces; pieces that ours lacks are left out."""
    size = encoder.description.vocab_size
    number_of = cache(encoder.vocabulary.term)
    rows = []
    with open_bytes(file) as lines:
        for vector in (json.loads(line)["vector"] for line in lines):
            numbered = ((number_of(piece), impact) for piece, impact in vector.items())
            rows.append({t: w / IMPACT_SCALE for t, w in numbered if t is not None})
    return SparseVectors.from_dicts(rows, size)

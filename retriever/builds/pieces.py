"""Pieces: shares of a corpus that are indexed apart, on any machines, and put together.

`index_piece` reads and encodes a share, `assemble` makes one collection of all of them. Words are
numbered and weighed as if one process had read the whole corpus, so exact searches find the same.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson

from tamis.index.collection import Collection
from tamis.index.errors import InputError, MismatchError, StoppedError
from tamis.index.files.lock import refuse_locked
from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import Storage
from tamis.index.generations.build_plan import PLAN, differences
from tamis.index.segment.calibration import SMALL
from tamis.index.writing.assembly import Assembly, PieceOfWhole
from tamis.index.writing.collection_build import CollectionBuild
from tamis.retriever.corpus.faults import Fault, refuse
from tamis.retriever.corpus.shares import Share
from tamis.retriever.indexing import IndexingJob, passages_of
from tamis.retriever.memory import MemoryBound
from tamis.retriever.models.lazy_encoder import LazyEncoder
from tamis.retriever.recorded import write_query_side
from tamis.retriever.words.bm25f import LengthSums, with_averages
from tamis.retriever.words.lexical import LexicalConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from tamis.index.generations.settings import CollectionSettings
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.segment.quantize import Precision
    from tamis.retriever.corpus.chunking import Chunking
    from tamis.retriever.corpus.fields import FieldTypes
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Passage

_SHARE = "piece"  # in the plan of a build that is one


def index_piece(
    passages: Iterable[Passage],
    out: str | Path,
    share: Share,
    *,
    encoder: Encoder | None,
    lexical: LexicalConfig | None = LexicalConfig(),  # noqa: B008  frozen
    source: str = "",
    fields: FieldTypes = {},  # noqa: B006  a Mapping
    chunking: Chunking | None = None,
    precision: Precision = "f32",
    memory_bytes: int | None = None,
    resume: bool = False,
    fault: Fault = refuse,
    progress: Progress | None = None,
) -> int:
    """Read and encode a share of a corpus into a folder of its own, for `assemble`.

    Args:
        passages: of the share, see `tamis.retriever.corpus.shares`.
        out: a folder that does not hold anything yet.
        share: which one it is.
        encoder: as for `index_corpus`, and so are all others; the same for all pieces.
        lexical: as said.
        source: as said.
        fields: as said; types that are not given must turn out to be the same in all pieces.
        chunking: as said.
        precision: as said.
        memory_bytes: as said.
        resume: as said.
        fault: as said.
        progress: as said.

    Returns:
        How many documents the piece holds.

    Raises:
        InputError: as `index_corpus`.
        MismatchError: as `index_corpus`.
        LockedError: as `index_corpus`.
    """
    passages = passages_of(passages, encoder, lexical, chunking, fault)
    job = IndexingJob(encoder, lexical, source, progress or silent)
    plan = {**job.plan(fields, chunking), _SHARE: str(share)}
    with CollectionBuild.begin(out, plan, precision=precision, resume=resume) as build:
        if build.stored is None:
            job.read(build, passages, fields, chunking, MemoryBound(memory_bytes), fault)
        job.encode(build)
        return len(build.documents)


def assemble(
    folders: Iterable[str | Path],
    out: str | Path,
    *,
    encoder: Encoder | None = None,
    workers: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
) -> Collection:
    """Make one collection of all pieces of a corpus, each a segment, and open it.

    The pieces stay where they are, and may be removed afterwards.

    Args:
        folders: of the pieces, in any order, or folders that hold them.
        out: a folder that does not hold an index yet.
        encoder: the one that encoded the pieces; None loads it from where it lay.
        workers: how many processes write segments.
        resume: go on with an assembly of the same pieces that was stopped.
        progress: told of each step, and may stop the work; see `Progress`.

    Raises:
        InputError: a folder is no finished piece, one is missing or there twice, an id is in two
            of them, or the folder to write holds something.
        MismatchError: pieces were not made alike.
        LockedError: a piece, or the folder to write, is being written.
    """
    pieces = read_pieces(folders)
    plan = {**_plan_of(pieces[0]), "pieces": [str(one.storage.root.resolve()) for one in pieces]}
    with Assembly.begin(out, plan, _precision_of(pieces[0]), resume=resume) as assembly:
        assemble_in(assembly, pieces, encoder, workers, progress or silent)
    return Collection.open(out)


def assemble_in(
    assembly: Assembly,
    pieces: Sequence[CollectionBuild],
    encoder: Encoder | None,
    workers: int,
    progress: Progress,
) -> None:
    """Carry an assembly out, of what `read_pieces` gave; arguments as of `assemble`."""
    share_words(assembly, pieces)
    places = [str(piece.storage.root) for piece in pieces]
    missing = [at for at in range(len(pieces)) if at + 1 not in assembly]
    sizes = [len(piece.documents) for piece in pieces]
    done, total = sum(sizes) - sum(sizes[at] for at in missing), sum(sizes)
    root, precision = str(assembly.storage.root), _precision_of(pieces[0])
    if workers == 1 or len(missing) < 2:
        for at in missing:
            progress("build", done, total)
            write_piece(root, precision, at + 1, places[at], encoder)
            done += sizes[at]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            location = encoder.location if encoder is not None else None
            tasks = [
                pool.submit(_write_elsewhere, root, precision, at + 1, places[at], location)
                for at in missing
            ]
            for at, task in zip(missing, tasks, strict=True):
                progress("build", done, total)
                _finish(task, places[at])
                done += sizes[at]
    progress("build", done, total)
    publish(assembly, len(pieces), encoder)


def _finish(task: Future[None], place: str) -> None:
    try:
        task.result()
    except BrokenProcessPool as error:
        raise StoppedError(
            f"{place}: expected a process to write its segment, found that one was killed; see "
            "whether memory is short, and go on with --resume"
        ) from error


def share_words(assembly: Assembly, pieces: Sequence[CollectionBuild]) -> None:
    """Write what all segments share: the dictionary, and what the manifest will say."""
    _refuse_doubles(pieces)
    made = pieces[0].settings
    learned = made.encoder.vocab_size if made.encoder is not None else 0
    assembly.share(
        pieces,
        learned if made.lexical is not None else None,
        lambda dictionary: _settings(pieces, dictionary),
    )


def write_piece(
    root: str, precision: Precision, number: int, place: str, encoder: Encoder | None = None
) -> None:
    """Write the segment of a piece, in any process that reaches both folders.

    Args:
        root: of the assembly, which has shared its words.
        precision: how weights are stored.
        number: of the segment, from 1.
        place: of the piece.
        encoder: None loads it from where it lay.
    """
    assembly = Assembly(root, precision)
    whole = assembly.whole
    piece = PieceOfWhole(Storage(place), precision, whole)
    job = _job(whole.settings, encoder)
    size, sample = job.vocab_size(piece), None
    if len(piece.documents) >= SMALL:
        sample = job.sample(piece, size)
    assembly.write(number, piece, lambda: job.joined(piece, size), size, sample)


def _write_elsewhere(
    root: str, precision: Precision, number: int, place: str, location: str | None
) -> None:
    """`write_piece` in a process of its own, with the encoder that lies at a location."""
    encoder = LazyEncoder.of(location) if location is not None else None
    write_piece(root, precision, number, place, encoder)


def publish(assembly: Assembly, pieces: int, encoder: Encoder | None) -> None:
    """Make the folder an index of all segments, which are written."""
    whole = assembly.whole
    job = _job(whole.settings, encoder)
    words = len(whole.dictionary) if whole.dictionary is not None else 0
    files = write_query_side(assembly.storage, job.encoder)
    assembly.publish(pieces, max(job.learned_terms + words, 1), files)


def read_pieces(folders: Iterable[str | Path]) -> list[CollectionBuild]:
    """The pieces of a corpus in their order, whole and made alike.

    Raises:
        InputError: as `assemble`.
        MismatchError: as `assemble`.
        LockedError: a piece is still being written.
    """
    found = [_open(Path(folder)) for given in folders for folder in _within(Path(given))]
    if not found:
        raise InputError(
            "expected folders of pieces, found none; make them with `tamis index --piece`"
        )
    pieces = sorted(found, key=lambda piece: _share_of(piece).number)
    _refuse_unlike(pieces)
    of = _share_of(pieces[0]).of
    numbers = [_share_of(piece).number for piece in pieces]
    if numbers != list(range(1, of + 1)):
        missing = sorted(set(range(1, of + 1)) - set(numbers))
        doubled = sorted({number for number in numbers if numbers.count(number) > 1})
        said = [f"piece {n} missing" for n in missing] + [f"piece {n} twice" for n in doubled]
        raise InputError(
            f"expected the pieces 1 to {of}, found {', '.join(said[:8])}; give each of them once"
        )
    return pieces


def _within(folder: Path) -> list[Path]:
    """A piece, or the pieces in a folder of them."""
    if (folder / PLAN).exists() or not folder.is_dir():
        return [folder]
    inner = sorted(place for place in folder.iterdir() if (place / PLAN).exists())
    return inner or [folder]


def _open(folder: Path) -> CollectionBuild:
    storage = Storage(folder)
    if not storage.exists(PLAN) or _SHARE not in _read_plan(storage):
        raise InputError(
            f"{folder}: expected a piece of a corpus, found none; make it with `tamis index CORPUS "
            "--piece 1/2 --out DIR`"
        )
    refuse_locked(storage)
    build = CollectionBuild(storage, _read_plan(storage)["precision"])
    if build.stored is None or not _is_encoded(build):
        raise InputError(
            f"{folder}: expected a piece that is whole, found one whose work was stopped; end it "
            "with the command that began it and --resume"
        )
    return build


def _is_encoded(build: CollectionBuild) -> bool:
    return build.settings.encoder is None or build.learned.rows == len(build.documents)


def _refuse_unlike(pieces: Sequence[CollectionBuild]) -> None:
    first, of = pieces[0], _share_of(pieces[0]).of
    for piece in pieces[1:]:
        said = list(differences(_plan_of(first), _plan_of(piece)))
        if not said:  # types that were not given are as the documents have them
            before, now = ({"type of field": one.settings.columns} for one in (first, piece))
            said = list(differences(before, now))
        if _share_of(piece).of != of:
            said.append(f"a share of {_share_of(piece).of} where it was {of}")
        if said:
            raise MismatchError(
                f"{piece.storage.root}: expected a piece made as {first.storage.root} was, "
                f"found {'; '.join(said)}; make all pieces with the same options"
            )


def _refuse_doubles(pieces: Sequence[CollectionBuild]) -> None:
    """Refuse an id that two pieces hold."""
    ids = [piece.ids for piece in pieces]
    hashes = np.sort(np.concatenate([one.hashes for one in ids]))
    doubled = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    seen: dict[str, Path] = {}
    for piece, one in zip(pieces, ids, strict=True):
        for doc in one.hashed(doubled).tolist():
            doc_id, folder = one.doc_id(doc), piece.storage.root
            if doc_id in seen:
                raise InputError(
                    f"expected each id once, found {doc_id!r} in {seen[doc_id]} and in {folder}; "
                    "make the ids unique"
                )
            seen[doc_id] = folder


def _settings(
    pieces: Sequence[CollectionBuild], dictionary: Dictionary | None
) -> CollectionSettings:
    """What is recorded of the collection: as of one that was built whole."""
    made = pieces[0].settings
    lexical = made.lexical
    if lexical is not None and dictionary is not None:
        sums = LengthSums(len(lexical.fields))
        for piece in pieces:
            sums.add(piece.words, piece.with_words, piece.of_fields)
        lexical = msgspec.structs.replace(
            with_averages(lexical, sums.averages),
            words=len(dictionary),
            words_cut=sum(one.settings.lexical.words_cut for one in pieces if one.settings.lexical),
            fingerprint=dictionary.fingerprint,
        )
    truncated = sum(piece.settings.truncated for piece in pieces)
    return msgspec.structs.replace(made, lexical=lexical, truncated=truncated)


def _job(settings: CollectionSettings, encoder: Encoder | None) -> IndexingJob:
    """How the pieces of a collection were made."""
    if encoder is None and settings.encoder is not None:
        encoder = LazyEncoder.of(settings.encoder.location)
    if encoder is not None and settings.encoder is not None:
        found, wanted = encoder.description.fingerprint, settings.encoder.fingerprint
        if found != wanted:
            raise MismatchError(
                f"expected the encoder {settings.encoder.name} ({wanted}) that encoded the "
                f"pieces, found {encoder.description.name} ({found}); give that one"
            )
    lexical = LexicalConfig.of(settings.lexical) if settings.lexical is not None else None
    return IndexingJob(encoder, lexical, settings.source, silent)


def _plan_of(piece: CollectionBuild) -> dict[str, Any]:
    """How a piece was made, but for which one it is."""
    return {name: value for name, value in _read_plan(piece.storage).items() if name != _SHARE}


def _precision_of(piece: CollectionBuild) -> Precision:
    found: Precision = _plan_of(piece)["precision"]
    return found


def _share_of(piece: CollectionBuild) -> Share:
    return Share.parse(_read_plan(piece.storage)[_SHARE])


def _read_plan(storage: Storage) -> Mapping[str, Any]:
    found: Mapping[str, Any] = orjson.loads(storage.read(PLAN))
    return found

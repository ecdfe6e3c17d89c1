"""Chunking: a long document becomes passages that a model reads whole.

Passages end where sentences do, at the end of a paragraph where that leaves them at least half
full, and overlap by whole sentences. A sentence that is too long is cut between words, and a word
between characters. Passage 2 of document ``x`` has the id ``x#2`` and the field ``parent`` ``x``;
each passage keeps the fields of its document, and its title with the headings that it stands
under: ``Sieves > Drum sieves > Meshes``. Short sections share a passage. A document's score is
that of its best passage (MaxP, Dai and Callan 2019): search with ``group_by="parent"``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, NamedTuple

from tamis.index.errors import InputError
from tamis.retriever.corpus.faults import Fault, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tamis.index.generations.settings import CollectionSettings
    from tamis.index.writing.writer import CollectionWriter
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Heading, Passage

    CountTokens = Callable[[Sequence[str]], Sequence[int]]

PARENT = "parent"  # field: the document's id
NUMBER = "chunk"  # field: the passage's number in it, from 1
SMALLEST = 8  # tokens
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
# A full stop after a lone capital or a digit ends no sentence ("J. Smith", "3. May").
_SENTENCES = re.compile(
    r"(?<=[.!?\u2026])(?<!\b[^\W\d_a-z]\.)(?<!\b\d\.)(?<!\d\d\.)"
    r"[\"'\u00bb\u201d\u2019)\]]*\s+(?=[^\sa-z])"
    r"|(?<=[\u3002\uff01\uff1f])[\u300d\u300f\uff09]*\s*"  # of Chinese and Japanese
    r"|(?<=[\u061f\u0964\u06d4])\s+|\n"  # of Arabic, Hindi and Urdu
)
_WORDS = re.compile(r"\S+\s*")
_COUNTED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\\W_]+"
)


@dataclass(frozen=True, slots=True)
class Chunking:
    """How long passages are.

    Attributes:
        tokens: most tokens of a passage's title and text; of the encoder, or words without one.
        overlap: most tokens that a passage shares with the one before.

    Raises:
        InputError: the numbers do not fit together.
    """

    tokens: int
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.tokens < SMALLEST or not 0 <= self.overlap <= self.tokens // 2:
            raise InputError(
                f"expected at least {SMALLEST} tokens a passage and an overlap of at most half of "
                f"them, found {self.tokens}:{self.overlap}; 200:40 suits prose"
            )

    @staticmethod
    def parse(text: str) -> Chunking:
        """Read ``TOKENS:OVERLAP`` or ``TOKENS``.

        Raises:
            InputError: it is something else.
        """
        found = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", text.strip())
        if found is None:
            raise InputError(f"expected TOKENS:OVERLAP such as 200:40 for passages, found {text!r}")
        return Chunking(int(found[1]), int(found[2] or 0))

    @staticmethod
    def of(settings: CollectionSettings) -> Chunking | None:
        """How a collection's passages were made; None where its documents are whole."""
        recorded = settings.chunk
        return Chunking(recorded.tokens, recorded.overlap) if recorded is not None else None

    def check(self, encoder: Encoder | None) -> None:
        """Refuse passages that the encoder would cut.

        Raises:
            InputError: as said.
        """
        if encoder is None:
            return
        own = encoder.count_tokens([""])[0]
        room = encoder.description.max_length - own
        if self.tokens > room:
            raise InputError(
                f"expected passages of at most {room} tokens, which is what the encoder "
                f"{encoder.description.name} reads, found {self.tokens}; make them shorter"
            )


class _Piece(NamedTuple):
    """A stretch of a text that is not divided.

    Attributes:
        start: first character.
        end: after the last one.
        tokens: in it.
        opens: whether a paragraph begins with it.
    """

    start: int
    end: int
    tokens: int
    opens: bool


def counter_of(encoder: Encoder | None) -> CountTokens:
    """Counts the tokens of texts: the encoder's, special ones left out, or words without one."""
    if encoder is None:
        return lambda texts: [len(_COUNTED.findall(text)) for text in texts]
    own = encoder.count_tokens([""])[0]
    return lambda texts: [count - own for count in encoder.count_tokens(texts)]


def chunked(
    passages: Iterable[Passage], chunking: Chunking, count: CountTokens, fault: Fault = refuse
) -> Iterator[Passage]:
    """The passages of documents, document by document.

    Raises:
        InputError: through ``fault``, a document has a field that passages use for themselves.
    """
    for document in passages:
        try:
            chunks = chunks_of(document, chunking, count)
        except InputError as error:
            fault(error)
        else:
            yield from chunks


def chunks_of(document: Passage, chunking: Chunking, count: CountTokens) -> list[Passage]:
    """The passages of one document, at least one; raises as `chunked`."""
    taken = {PARENT, NUMBER} & set(document.fields)
    if taken:
        raise InputError(
            f"{document.place}expected no field named {' or '.join(sorted(taken))}, which passages "
            "of a document have for themselves; rename it, or index with --chunk none"
        )
    spans = [
        (part.title, part.start + start, part.start + end)
        for part in _parts(document, chunking.tokens // 2, count)
        for start, end in _spans(part, document.text, chunking, count)
    ]
    return [
        replace(
            document,
            doc_id=chunk_id(document.doc_id, number),
            title=title,
            text=document.text[start:end],
            fields={**document.fields, PARENT: document.doc_id, NUMBER: number},
            headings=(),
        )
        for number, (title, start, end) in enumerate(spans, start=1)
    ]


class _Sections(NamedTuple):
    """Sections of a document that are divided together.

    Attributes:
        title: of the document, and the headings that all of the part stands under.
        start: first character.
        end: after the last one.
    """

    title: str
    start: int
    end: int


def _spans(
    part: _Sections, text: str, chunking: Chunking, count: CountTokens
) -> list[tuple[int, int]]:
    title = count([part.title])[0] if part.title else 0
    budget = max(chunking.tokens - title, chunking.tokens // 2)
    overlap = min(chunking.overlap, budget // 2)
    return split(text[part.start : part.end], budget, overlap, count)


def _parts(document: Passage, enough: int, count: CountTokens) -> list[_Sections]:
    """A document's sections, short ones together until they have ``enough`` tokens."""
    starts = [0, *(heading.start for heading in document.headings), len(document.text)]
    paths = [(), *_paths(document)]
    sections = [
        (path, start, end)
        for path, (start, end) in zip(paths, pairwise(starts), strict=True)
        if document.text[start:end].strip() or len(paths) == 1
    ]
    counts = count([document.text[start:end] for _, start, end in sections])
    groups: list[tuple[tuple[str, ...], int, int, int]] = []
    for (path, start, end), tokens in zip(sections, counts, strict=True):
        if groups and groups[-1][3] + tokens <= enough:
            before, first, _, held = groups[-1]
            groups[-1] = (_shared(before, path), first, end, held + tokens)
        else:
            groups.append((path, start, end, tokens))
    return [_Sections(_title(document.title, path), start, end) for path, start, end, _ in groups]


def _paths(document: Passage) -> Iterator[tuple[str, ...]]:
    """Of each heading, those it stands under and itself."""
    above: list[Heading] = []
    for heading in document.headings:
        above = [one for one in above if one.level < heading.level] + [heading]
        yield tuple(one.text for one in above)


def _shared(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    both = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(name for name, _ in both)


def _title(title: str, path: Sequence[str]) -> str:
    return " > ".join(filter(None, [title, *path]))


def chunk_id(parent: str, number: int) -> str:
    """The id of a document's passage."""
    return f"{parent}#{number}"


def parent_of(chunk: str) -> str:
    """The document of a passage's id; one that is no passage's is its own document."""
    parent, _, number = chunk.rpartition("#")
    return parent if parent and number.isdecimal() else chunk


def present_chunks(parent: str, has: Callable[[str], bool]) -> list[str]:
    """The ids of all passages of a document that are there."""
    found: list[str] = []
    while has(chunk_id(parent, len(found) + 1)):
        found.append(chunk_id(parent, len(found) + 1))
    return found


def with_chunks(writer: CollectionWriter, ids: Iterable[str]) -> list[str]:
    """These ids, and in a collection of passages the ids of their passages."""
    ids = list(ids)
    if Chunking.of(writer.settings) is None:
        return ids
    return [*ids, *(chunk for parent in ids for chunk in present_chunks(parent, writer.has))]


def split(text: str, budget: int, overlap: int, count: CountTokens) -> list[tuple[int, int]]:
    """Where the passages of a text begin and end.

    Args:
        text: to divide.
        budget: most tokens of a passage.
        overlap: most tokens that a passage begins with of the one before.
        count: counts tokens.

    Returns:
        Spans in order, no spaces at their ends. Together they hold every word of the text.
    """
    pieces = _pieces(text, budget, count)
    if sum(piece.tokens for piece in pieces) <= budget:
        return [_stripped(text, 0, len(text))]
    return [_stripped(text, run[0].start, run[-1].end) for run in _runs(pieces, budget, overlap)]


def _runs(pieces: Sequence[_Piece], budget: int, overlap: int) -> Iterator[list[_Piece]]:
    run: list[_Piece] = []
    fresh = 0  # pieces of the run that the one before did not have
    for at, piece in enumerate(pieces):
        tokens = sum(each.tokens for each in run)
        full = tokens + piece.tokens > budget
        early = piece.opens and 2 * tokens >= budget and tokens + _ahead(pieces, at) > budget
        if fresh and (full or early):
            yield run
            run, fresh = _tail(run, min(overlap, budget - piece.tokens)), 0
        run.append(piece)
        fresh += 1
    if fresh:
        yield run


def _ahead(pieces: Sequence[_Piece], at: int) -> int:
    """Tokens of the paragraph that begins here."""
    tokens = pieces[at].tokens
    for piece in pieces[at + 1 :]:
        if piece.opens:
            break
        tokens += piece.tokens
    return tokens


def _tail(run: Sequence[_Piece], most: int) -> list[_Piece]:
    """The last pieces of at most so many tokens, never all of them."""
    kept: list[_Piece] = []
    for piece in reversed(run[1:]):
        most -= piece.tokens
        if most < 0:
            break
        kept.insert(0, piece)
    return kept


def _pieces(text: str, budget: int, count: CountTokens) -> list[_Piece]:
    """Sentences with their tokens, those above the budget cut."""
    spans, opening = [], set[int]()
    for start, end in _between(text, 0, len(text), _PARAGRAPHS):
        opening.add(start)
        spans += _between(text, start, end, _SENTENCES)
    counts = count([text[start:end] for start, end in spans])
    pieces: list[_Piece] = []
    for (start, end), tokens in zip(spans, counts, strict=True):
        if tokens <= budget:
            pieces.append(_Piece(start, end, tokens, start in opening))
        else:
            parts = _cut(text, start, end, budget, count)
            pieces += [_Piece(a, b, n, a in opening) for a, b, n in parts]
    return pieces


def _between(text: str, start: int, end: int, border: re.Pattern[str]) -> list[tuple[int, int]]:
    """The stretches between matches, each match counted to the stretch before it."""
    borders = [start, *(found.end() for found in border.finditer(text, start, end)), end]
    return [(a, b) for a, b in pairwise(borders) if text[a:b].strip()]


def _cut(
    text: str, start: int, end: int, budget: int, count: CountTokens
) -> list[tuple[int, int, int]]:
    """A sentence above the budget in parts below it: between words, or in halves."""
    words = [found.span() for found in _WORDS.finditer(text, start, end)]
    if len(words) == 1:
        middle = (start + end) // 2
        words = [(start, middle), (middle, end)] if end - start > 1 else words
    parts: list[tuple[int, int, int]] = []
    for (a, b), tokens in zip(words, count([text[a:b] for a, b in words]), strict=True):
        if tokens > budget and b - a > 1:
            parts += _cut(text, a, b, budget, count)
        elif parts and parts[-1][2] + tokens <= budget:
            parts[-1] = (parts[-1][0], b, parts[-1][2] + tokens)
        else:
            parts.append((a, b, tokens))
    return parts


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    stretch = text[start:end]
    return start + len(stretch) - len(stretch.lstrip()), start + len(stretch.rstrip())

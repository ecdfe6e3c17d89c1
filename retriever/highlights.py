"""Which words of a document a hit was found by, and the stretch of text that shows them best."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.types import content_of
from tamis.retriever.vocabulary import parse_piece, parse_word
from tamis.retriever.words.fields import TITLE_AND_TEXT, field_key, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Hit, MatchedTerm
    from tamis.retriever.words.analysis import Analyzer

SNIPPET_CHARACTERS = 320
LEAD_CHARACTERS = 48  # kept before the first matched word of a snippet
LONGEST_TEXT = 20_000  # characters looked at
MARKED_SHARE = 0.05  # of the score that a term must make, that its words are marked
KNOWN_WORDS = 1 << 13  # whose stems are remembered: soon full, so that memory stays level
LONGEST_KNOWN = 64  # characters
ELLIPSIS = "…"
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text, and whether it is a matched word."""

    text: str
    match: bool


@dataclass(frozen=True, slots=True)
class _Match:
    start: int
    stop: int
    word: str  # case folded: repeated words count once
    worth: float  # the largest contribution of a term that marks it


def highlight(searcher: Searcher, hit: Hit) -> dict[str, tuple[Span, ...]]:
    """The title and the best stretch of each searched field of a hit, matched words marked.

    Args:
        searcher: that found the hit.
        hit: with its matched terms.
    """
    finder = _MatchFinder(searcher, hit)
    found = {}
    for name in searcher.collection.settings.text_fields or TITLE_AND_TEXT:
        check_for_interrupts()
        text = " ".join(texts_of(hit.document, name))
        if text.strip():
            found[name] = _snippet(text, finder.matches(text[:LONGEST_TEXT], name))
    return found


class _MatchFinder:
    """Finds the words of a text that hold matched terms; expansions are in no text.

    Words that hardly count, such as *of*, are not marked: they hide those that do.
    """

    def __init__(self, searcher: Searcher, hit: Hit) -> None:
        self._stems: dict[str, float] = {}
        self._pieces: dict[str, float] = {}
        for term in _weighty(hit.matched_terms):
            stem, piece = parse_word(term.term), parse_piece(term.term)
            if stem is not None:
                self._stems[stem] = term.contribution
            elif piece is not None and not term.expansion:
                self._pieces[piece] = term.contribution
        self._analyzer = _analyzer_of(searcher, hit.document) if searcher.lexical else None
        tokenizer = getattr(searcher.encoder, "tokenizer", None)
        self._backend = tokenizer.backend if tokenizer is not None else None

    def matches(self, text: str, field: str) -> list[_Match]:
        """Matched stretches of a field's text, in order, none touching another."""
        found: list[tuple[int, int, float]] = []
        for start, stop, worth in sorted((*self._by_stem(text, field), *self._by_piece(text))):
            if found and start <= found[-1][1]:
                first, last, most = found[-1]
                found[-1] = first, max(stop, last), max(worth, most)
            else:
                found.append((start, stop, worth))
        return [_Match(at, to, text[at:to].casefold(), worth) for at, to, worth in found]

    def _by_stem(self, text: str, field: str) -> Iterator[tuple[int, int, float]]:
        """Words with a matched stem; of a word with many (scripts without spaces), those parts."""
        if self._analyzer is None or not self._stems:
            return
        key = field_key(field, "")
        worths = {
            stem.removeprefix(key): worth
            for stem, worth in sorted(self._stems.items(), key=lambda one: one[1])
            if not stem.startswith(":") or stem.startswith(key)
        }
        for word in _WORD.finditer(text):
            stems_of = _stems_of if len(word[0]) <= LONGEST_KNOWN else _stems_of.__wrapped__
            stems = stems_of(self._analyzer, word[0])
            found = [stem for stem in stems if stem in worths]
            parts = [
                (word.start() + part.start(), word.start() + part.end(), worths[stem])
                for stem in (found if len(stems) > 1 else ())
                for part in re.finditer(re.escape(stem), word[0], re.IGNORECASE)
            ]
            if found:
                yield from parts or [(*word.span(), max(worths[stem] for stem in found))]

    def _by_piece(self, text: str) -> Iterator[tuple[int, int, float]]:
        """Words of which matched word pieces cover at least half."""
        if self._backend is None or not self._pieces:
            return
        encoding = self._backend.encode(text, add_special_tokens=False)
        words: dict[int, list[tuple[int, int, float]]] = {}
        for piece, word, (start, stop) in zip(
            encoding.tokens, encoding.word_ids, encoding.offsets, strict=True
        ):
            words.setdefault(word, []).append((start, stop, self._pieces.get(piece, 0.0)))
        for pieces in words.values():
            covered = sum(stop - start for start, stop, worth in pieces if worth)
            first, last = pieces[0][0], pieces[-1][1]
            if covered and 2 * covered >= last - first:
                yield first, last, max(worth for _, _, worth in pieces)


def _weighty(terms: Sequence[MatchedTerm]) -> Iterator[MatchedTerm]:
    """Those that make `MARKED_SHARE` of the score, or half of what the heaviest term makes.

    The second rule is for long queries, where no term makes much of the score.
    """
    worths = [term.contribution for term in terms]
    least = min(MARKED_SHARE * sum(worths), max(worths, default=0.0) / 2)
    return (term for term in terms if term.contribution >= least)


def _analyzer_of(searcher: Searcher, document: Mapping[str, Any]) -> Analyzer:
    """That of the language of a document."""
    assert searcher.lexical is not None
    content = content_of(document, searcher.collection.settings.text_fields)
    (found,) = searcher.lexical.analyzer.for_records([document], [content])
    return found


@lru_cache(KNOWN_WORDS)
def _stems_of(analyzer: Analyzer, word: str) -> tuple[str, ...]:
    return tuple(analyzer.analyze(word))


def _snippet(text: str, matches: Sequence[_Match]) -> tuple[Span, ...]:
    start, stop = _window(text, matches)
    inside = [match for match in matches if start <= match.start and match.stop <= stop]
    spans = [Span(ELLIPSIS, match=False)] if start > 0 else []
    at = start
    for match in inside:
        spans.append(Span(text[at : match.start], match=False))
        spans.append(Span(text[match.start : match.stop], match=True))
        at = match.stop
    spans.append(Span(text[at:stop], match=False))
    if stop < len(text):
        spans.append(Span(ELLIPSIS, match=False))
    return tuple(span for span in spans if span.text)


def _window(text: str, matches: Sequence[_Match]) -> tuple[int, int]:
    """The stretch whose distinct matched words are worth most; the earliest of equal ones."""
    if len(text) <= SNIPPET_CHARACTERS:
        return 0, len(text)
    best, most = 0, 0.0
    for first, match in enumerate(matches):
        near = matches[first : first + SNIPPET_CHARACTERS]
        worth = _worth(near, match.start + SNIPPET_CHARACTERS - LEAD_CHARACTERS)
        if worth > most:
            best, most = match.start, worth
    start = max(0, best - LEAD_CHARACTERS)
    if start > 0:
        start = _next_word(text, start, best)
    stop = min(start + SNIPPET_CHARACTERS, len(text))
    return start, _last_word_end(text, start, stop)


def _worth(matches: Iterable[_Match], reach: int) -> float:
    """Of the distinct words that end before ``reach``."""
    worths: dict[str, float] = {}
    for match in takewhile(lambda match: match.stop <= reach, matches):
        worths[match.word] = max(match.worth, worths.get(match.word, 0.0))
    return sum(worths.values())


def _next_word(text: str, start: int, latest: int) -> int:
    """The first position after a space from ``start`` on, at most ``latest``."""
    space = text.find(" ", start, latest)
    return space + 1 if space >= 0 else latest


def _last_word_end(text: str, start: int, stop: int) -> int:
    """Where the last whole word ends, or ``stop`` where a word fills the whole stretch."""
    if stop == len(text):
        return stop
    space = text.rfind(" ", start, stop + 1)
    return start + len(text[start:space].rstrip(" ,;:.-")) if space > start else stop

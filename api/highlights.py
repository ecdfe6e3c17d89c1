"""Which words of a document a hit was found by, and the stretch of text that shows them best."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamis.retriever.lexical import parse_piece, parse_term

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Hit

SNIPPET_CHARACTERS = 320
LEAD_CHARACTERS = 48  # kept before the first matched word of a snippet
LONGEST_TEXT = 20_000  # characters looked at
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


def highlight(searcher: Searcher, hit: Hit) -> dict[str, tuple[Span, ...]]:
    """The title and the best stretch of the text of a hit, matched words marked.

    Args:
        searcher: that found the hit.
        hit: with its matched terms.
    """
    finder = _MatchFinder(searcher, hit)
    found = {}
    for name in ("title", "text"):
        text = hit.document.get(name)
        if isinstance(text, str) and text.strip():
            found[name] = _snippet(text, finder.matches(text[:LONGEST_TEXT]))
    return found


class _MatchFinder:
    """Finds the words of a text that hold matched terms; expansions are in no text."""

    def __init__(self, searcher: Searcher, hit: Hit) -> None:
        written = {term.term for term in hit.matched_terms if not term.expansion}
        stems = {term: parse_term(term) for term in written}
        self._stems = {stem for stem in stems.values() if stem is not None}
        self._pieces = {parse_piece(term) for term, stem in stems.items() if stem is None}
        self._analyzer = searcher.lexical.analyzer if searcher.lexical else None
        tokenizer = getattr(searcher.encoder, "tokenizer", None)
        self._backend = tokenizer.backend if tokenizer is not None else None

    def matches(self, text: str) -> list[_Match]:
        """Matched stretches of a text, in order, none touching another."""
        marked = bytearray(len(text))
        for start, stop in (*self._by_stem(text), *self._by_piece(text)):
            marked[start:stop] = b"\x01" * (stop - start)
        return [
            _Match(run.start(), run.end(), text[run.start() : run.end()].casefold())
            for run in re.finditer(rb"\x01+", marked)
        ]

    def _by_stem(self, text: str) -> Iterator[tuple[int, int]]:
        """Words with a matched stem; of a word with many (scripts without spaces), those parts."""
        if self._analyzer is None or not self._stems:
            return
        for word in _WORD.finditer(text):
            stems = self._analyzer.analyze(word[0])
            found = self._stems.intersection(stems)
            parts = [
                (word.start() + part.start(), word.start() + part.end())
                for stem in (found if len(stems) > 1 else ())
                for part in re.finditer(re.escape(stem), word[0], re.IGNORECASE)
            ]
            if found:
                yield from parts or [word.span()]

    def _by_piece(self, text: str) -> Iterator[tuple[int, int]]:
        """Words of which matched word pieces cover at least half."""
        if self._backend is None or not self._pieces:
            return
        encoding = self._backend.encode(text, add_special_tokens=False)
        words: dict[int, list[tuple[int, int, bool]]] = {}
        for piece, word, (start, stop) in zip(
            encoding.tokens, encoding.word_ids, encoding.offsets, strict=True
        ):
            words.setdefault(word, []).append((start, stop, piece in self._pieces))
        for pieces in words.values():
            covered = sum(stop - start for start, stop, matched in pieces if matched)
            first, last = pieces[0][0], pieces[-1][1]
            if covered and 2 * covered >= last - first:
                yield first, last


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
    """The stretch with the most distinct matched words; the earliest of equal ones."""
    if len(text) <= SNIPPET_CHARACTERS:
        return 0, len(text)
    best, best_count = 0, 0
    for first, match in enumerate(matches):
        reach = match.start + SNIPPET_CHARACTERS - LEAD_CHARACTERS
        words = {other.word for other in matches[first:] if other.stop <= reach}
        if len(words) > best_count:
            best, best_count = match.start, len(words)
    start = max(0, best - LEAD_CHARACTERS)
    if start > 0:
        start = _next_word(text, start, best)
    stop = min(start + SNIPPET_CHARACTERS, len(text))
    return start, _last_word_end(text, start, stop)


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

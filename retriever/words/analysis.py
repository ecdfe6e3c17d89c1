"""Text to the words of the lexical channel: split, normalise, stop, stem. Knows nothing of weights.

A text is cut into chunks by one regular expression, and each distinct chunk is turned into its
words once; what follows the first sight of a chunk is a dict lookup. A chunk is a run of word
characters and, where a digit stands beside the joint, the runs it is joined to: ``COVID-19``,
``3.14``, ``x86_64``.

- NFKC, case folding and the digits 0 to 9 for those of any script; invisible characters go.
- Codes give their parts, and the whole with the joint between letter and digit left out, so that
  ``COVID-19``, ``COVID19`` and ``covid 19`` meet.
- Scripts written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) give overlapping pairs of
  characters, a character taken with its marks; a lone character stands for itself.
- French, Italian, Catalan and Irish elide: what they write before an apostrophe (``l'home``) goes.
- Everything else is a word: left out if it is a stop word, else stemmed by Snowball.
- Languages without a stemmer keep their words as they are; Korean gives pairs of characters too.
- Combining marks of Latin, Greek, Hebrew and Arabic letters go where the language's readers do
  not tell words apart by them.
"""

from __future__ import annotations

import re
import threading
import unicodedata
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import Stemmer

from tamis.index.errors import InputError, MismatchError, TamisWarning
from tamis.retriever.words.characters import (
    HANGUL,
    HYPHENS,
    INVISIBLE,
    UNSPACED,
    clusters,
    fold,
    marks,
    normalize,
    pairs,
)
from tamis.retriever.words.fields import TextField, check_text_fields
from tamis.retriever.words.finding_languages import PACKAGE, finder_version
from tamis.retriever.words.language_names import CODES
from tamis.retriever.words.stop_words import (
    ELIDED,
    QUESTION_WORDS,
    STOP_WORDS,
    STOPPED_WITHOUT_ELISION,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tamis.index.generations.settings import LexicalSettings

ANALYZER_VERSION = 2  # of new collections; older ones keep the version that made their words
VERSIONS = (1, 2)  # 1 knew no elision
LONGEST_WORD = 10_000  # characters; longer ones are cut there
REMEMBERED_CHUNKS = 1 << 14  # of queries: about 4 MB
LONGEST_CODE = 64  # characters of a joined code kept whole; longer ones give their parts alone

UNSTEMMED = "none"
BIGRAMS = "bigrams"  # as "none", and Hangul in pairs of characters too
_AS_BIGRAMS = frozenset({BIGRAMS, "korean"})

# Where marks go before the stemmer sees the word: its rules do not read them.
_FOLD_FIRST = frozenset({"english", "porter", "arabic", "persian"})
# Where the stemmer reads the marks, and people leave them out when they type.
_FOLD_AFTER = frozenset(
    {"basque", "catalan", "dutch", "dutch_porter", "esperanto", "french", "german", "greek"}
    | {"indonesian", "irish", "italian", "portuguese"}
)
_ASCII_PARTS = re.compile(r"[^\W_]+", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_CODE = re.compile(r"\S*\d\S*")
_LETTER_JOINT = re.compile(r"(?<=[^\W\d_])[-_](?=\d)|(?<=\d)[-_](?=[^\W\d_])")


@dataclass(frozen=True, slots=True)
class LexicalConfig:
    """How a collection's words are made and weighed; frozen in its manifest.

    Attributes:
        language: a Snowball language, ``"none"`` (no stemming) or ``"bigrams"`` (no stemming, and
            Hangul in pairs of characters); beside others also a language without a stemmer.
        stop_words: leave function words out, in the languages that `stop_words` lists, and words
            that only ask (``what``, ``does``) out of queries.
        fold_marks: drop combining marks where the language's readers do not tell words by them.
        k1: how slowly repeated words saturate; at 0 they count once.
        b: how much of a document's length is discounted, 0 to 1.
        weight: factor on the words of a query that does not say its own.
        analyzer: version of the rules by which a text gives its words.
        fields: of documents, that are read as their text, in this order; none reads title and text
            as one.
        languages: others that documents may be in; see `several_languages`.
        language_field: of documents, that says which it is, by name or code; None has it found.
            What is none of them is read as ``language``.

    Raises:
        InputError: a language is unknown, or a number is out of range.
    """

    language: str = "english"
    stop_words: bool = True
    fold_marks: bool = True
    k1: float = 0.9
    b: float = 0.4
    weight: float = 1.0
    analyzer: int = ANALYZER_VERSION
    fields: tuple[TextField, ...] = ()
    languages: tuple[str, ...] = ()
    language_field: str | None = None

    def __post_init__(self) -> None:
        check_text_fields(self.fields)
        self._check_languages()
        if not (0 <= self.k1 < float("inf") and 0 <= self.b <= 1):
            raise InputError(
                f"expected k1 of at least 0 and b from 0 to 1, found k1={self.k1} and b={self.b}; "
                "0.9 and 0.4 suit passages"
            )
        if not 0 <= self.weight < float("inf"):
            raise InputError(
                f"expected a lexical weight of 0 or more, found {self.weight}; 0 turns words off"
            )
        if self.analyzer not in VERSIONS:
            raise InputError(
                f"expected analyzer to be one of the versions {VERSIONS}, found {self.analyzer}; "
                f"{ANALYZER_VERSION} is the newest"
            )

    def _check_languages(self) -> None:
        for name in (self.language, *self.languages):
            if name not in languages() and name not in CODES.values():
                raise InputError(
                    f"expected language to be one of {', '.join(languages())}, "
                    f"found {name!r}; choose one of these"
                )
        if len({self.language, *self.languages}) <= len(self.languages):
            raise InputError(
                f"expected each language once, found {self.language}, "
                f"{', '.join(self.languages)}; leave out what is there twice"
            )
        if self.language_field is not None and not self.languages:
            raise InputError(
                f"expected several languages for the field {self.language_field!r} to name, found "
                f"{self.language} alone; list them: --language english,german"
            )

    @staticmethod
    def of(made: LexicalSettings) -> LexicalConfig:
        """How a collection's words were made.

        Raises:
            MismatchError: a later version of the analyser made the words.
        """
        if made.analyzer not in VERSIONS:
            raise MismatchError(
                f"expected words of analyser version {VERSIONS[0]} to {VERSIONS[-1]}, found "
                f"version {made.analyzer}; build the collection with `tamis index`, or update tamis"
            )
        fields = tuple(TextField(one.name, one.weight, one.b) for one in made.fields)
        several = made.several_languages
        return LexicalConfig(
            **{name: getattr(made, name) for name in RECORDED},
            fields=fields,
            languages=tuple(several.others) if several else (),
            language_field=several.field if several else None,
        )


RECORDED = tuple(  # of a config, as they are
    name
    for name in LexicalConfig.__dataclass_fields__
    if name not in ("fields", "languages", "language_field")
)
SAME_ANALYSIS = (
    "go back to the versions that made the words, or have all texts analysed again with "
    "`tamis upgrade DIR`"
)


def stemmer_version() -> str:
    """The version of the stemmer that is installed; with a `LexicalConfig` it decides the words."""
    return str(Stemmer.version())


def unicode_version() -> str:
    """The version of the character database: which characters there are, their case and forms."""
    return unicodedata.unidata_version


def analysis_versions() -> dict[str, str]:
    """What decides a text's words beside a `LexicalConfig`, by name in `LexicalSettings`."""
    return {"stemmer": stemmer_version(), "unicode": unicode_version()}


def analysed_otherwise(made: LexicalSettings) -> str | None:
    """Which other version than the present one made a collection's words; None for the same.

    A character database that was not recorded passes for the present one: versions differ in new
    characters alone. `may_differ` asks more strictly.
    """
    stemmer, database = stemmer_version(), unicode_version()
    is_stemmed = made.language in Stemmer.algorithms() or bool(made.several_languages)
    if is_stemmed and made.stemmer != stemmer:
        recorded = made.stemmer or "of the version, not recorded,"
        return f"expected PyStemmer {recorded} that made this index's words, found {stemmer}"
    several = made.several_languages
    if several and several.field is None and several.finder != finder_version():
        return (
            f"expected {PACKAGE} {several.finder} that found the languages of this index's "
            f"documents, found {finder_version() or 'none'}"
        )
    if made.unicode not in (None, database):
        return f"expected Unicode {made.unicode} that made this index's words, found {database}"
    return None


def warn_of_other_analysis(made: LexicalSettings) -> None:
    """Warn that words of texts and queries may not be those that a collection holds."""
    other = analysed_otherwise(made)
    if other is not None:
        said = f"{other}: words that it spells otherwise are not found; {SAME_ANALYSIS}"
        warnings.warn(said, TamisWarning, stacklevel=3)


def may_differ(made: LexicalSettings) -> bool:
    """Whether a collection's words may be others than its texts have with the present versions."""
    return analysed_otherwise(made) is not None or made.unicode is None


def languages() -> tuple[str, ...]:
    """All that `LexicalConfig.language` may be."""
    return (UNSTEMMED, BIGRAMS, *sorted(Stemmer.algorithms()))


class Analyzer:
    """The words of texts in one language. Threads may share one.

    Attributes:
        config: what it was made of.
        unspaced: the letters of scripts without spaces, as a regular expression's set.
    """

    def __init__(self, config: LexicalConfig) -> None:
        language = config.language
        self.config = config
        self._cut = 0
        stemmed = language in Stemmer.algorithms()
        self._stem = Stemmer.Stemmer(language, 0) if stemmed else None
        self._stemming = threading.Lock()  # a Stemmer has inner state
        self._stop_words = _stop_words(config)
        self._elided = ELIDED.get(language, _NONE) if config.analyzer > 1 else _NONE
        self._asking = QUESTION_WORDS.get(language, _NONE) if config.stop_words else _NONE
        self._turkish = language == "turkish"  # its I is not i's capital
        self._fold_first = config.fold_marks and language in _FOLD_FIRST
        self._fold_after = config.fold_marks and language in _FOLD_AFTER
        self.unspaced = UNSPACED + HANGUL if language in _AS_BIGRAMS else UNSPACED
        self._unspaced = re.compile(f"([{self.unspaced}]+)")
        self._remembered: dict[str, tuple[tuple[str, ...], bool]] = {}  # of queries' chunks

    @property
    def words_cut(self) -> int:
        """Words of more than `LONGEST_WORD` characters that were met, and cut, so far."""
        return self._cut

    def for_records(
        self, records: Sequence[Mapping[str, Any]], contents: Sequence[str]
    ) -> Iterable[Analyzer]:
        """What analyses each of these documents, given with their texts: this, each time."""
        return repeat(self, len(records))

    @property
    def each(self) -> tuple[Analyzer, ...]:
        """All by which a query may be analysed: this one."""
        return (self,)

    @property
    def alone(self) -> tuple[Analyzer, ...]:
        """The analyser of each language: this one."""
        return (self,)

    def speaking(self, language: str | None) -> Analyzer:
        """What analyses queries of a language, given by its name or code; None takes any.

        Raises:
            InputError: documents are analysed in others.
        """
        if language is None:
            return self
        name = CODES.get(language, language)
        for one in self.each:
            if one.config.language == name and not one.config.languages:
                return one
        there = dict.fromkeys(one.config.language for one in self.each)
        raise InputError(
            f"expected a language of the index: {', '.join(there)}, found {language!r}; name one "
            "of these, or none"
        )

    def take_unknown_languages(self) -> Counter[str]:
        """Languages that documents have named since the last call and the collection has not."""
        return Counter()

    def analyze(self, text: str) -> list[str]:
        """The words of a text in their order, repeated as they are; linear in its length."""
        return [word for chunk in self.chunks(text) for word in self.words_of(chunk)]

    def analyze_query(self, text: str) -> list[str]:
        """The words of a query: as `analyze`, without those that only ask.

        ``how does a glacier form`` gives the words of ``a glacier form``. An acronym stays (``WHO``
        beside other words in lower case), and so does a query that nothing would be left of.
        """
        shouted = text.isupper()
        found: list[str] = []
        for chunk in self.chunks(text):
            words, asks = self.of_query(chunk)
            if not asks or (chunk.isupper() and not shouted):
                found += words
        return found or self.analyze(text)

    def of_query(self, chunk: str) -> tuple[tuple[str, ...], bool]:
        """The words of a chunk, and whether it only asks; queries say the same words over again."""
        found = self._remembered.get(chunk)
        if found is None:
            found = (self.words_of(chunk), self._asks(chunk))
            if len(chunk) <= LONGEST_CODE:
                if len(self._remembered) >= REMEMBERED_CHUNKS:
                    self._remembered.clear()
                self._remembered[chunk] = found
        return found

    def _asks(self, chunk: str) -> bool:
        return chunk.lower().replace("\u2019", "'").removesuffix("'s") in self._asking

    @property
    def elided(self) -> frozenset[str]:
        """What stands before an apostrophe and is left out."""
        return self._elided

    def chunks(self, text: str) -> list[str]:
        """The chunks of a text, as they are written there: what `words_of` takes."""
        return _chunk_pattern(text.isascii(), self._elided).findall(text)

    def words_of(self, chunk: str) -> tuple[str, ...]:
        """The words of one chunk: none for a stop word, several for a code or unspaced text."""
        if chunk.isascii() and not self._turkish:
            return self._spaced(chunk.lower(), _ASCII_PARTS)
        pieces = self._unspaced.split(normalize(chunk, turkish=self._turkish))
        words: list[str] = []
        for i, piece in enumerate(pieces):  # every second piece is unspaced
            words += pairs(piece) if i % 2 else self._spaced(piece, _unicode_parts())
        return tuple(words)

    def spelled(self, text: str) -> str:
        """A text as its words are compared before they are stemmed: normal forms, case folded.

        Without marks where the stemmer does not see them either.
        """
        if text.isascii() and not self._turkish:
            return text.lower()
        text = normalize(text, turkish=self._turkish)
        return fold(text) if self._fold_first else text

    def is_unspaced(self, text: str) -> bool:
        """Whether all letters of a text are of scripts without spaces."""
        return self._unspaced.fullmatch(text) is not None

    def sure_words(self, word: str) -> tuple[str, ...]:
        """Words that every text has which holds this one, given as `spelled`; there may be none.

        None of codes and numbers: their words depend on what stands beside them.
        """
        if self.is_unspaced(word):
            return tuple(pairs(word)) if len(clusters(word)) > 1 else ()
        if len(word) == 1 or word in self._elided or self._unspaced.search(word):
            return ()
        return self.words_of(word) if _letters().fullmatch(word) else ()

    def sure_lists(self, word: str) -> tuple[tuple[str, ...], ...]:
        """For each word that every text with this one has, what it may be, in each language.

        Takes it as it is written. None where one language leaves it out, or does not tell.
        """
        return either([one.sure_words(one.spelled(word)) for one in self.alone])

    def stems(self, words: Sequence[str]) -> list[str]:
        """The stems of many words at once, given as `spelled`; stop words have theirs too."""
        if self._stem is None:
            return list(words)
        with self._stemming:
            found: list[str] = self._stem.stemWords(list(words))
        return [self.folded(stem) for stem in found]

    def folded(self, word: str) -> str:
        """A word as the index writes what it begins with: without marks that the language drops."""
        return fold(word) if self._fold_after else word

    def _spaced(self, chunk: str, parts_of: re.Pattern[str]) -> tuple[str, ...]:
        """The words of a normalised chunk of a script with spaces."""
        if chunk.endswith("'s"):
            chunk = chunk[:-2]
        if _THOUSANDS.fullmatch(chunk):
            return (chunk.replace(",", ""),)
        parts = parts_of.findall(chunk)
        words = [self._word(part) for part in parts if part not in self._stop_words]
        if len(parts) > 1 and len(chunk) <= LONGEST_CODE and _CODE.fullmatch(chunk):
            words.append(_LETTER_JOINT.sub("", chunk))
        return tuple(words)

    def _word(self, part: str) -> str:
        if len(part) > LONGEST_WORD:
            self._cut += 1
            part = part[:LONGEST_WORD]
        if self._fold_first:
            part = fold(part)
        if self._stem is not None:
            with self._stemming:
                part = self._stem.stemWord(part)
        return fold(part) if self._fold_after else part


def either(each: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """For each word of a text that has one of these rows of words, what it may be.

    None where a row is empty, as nothing is sure of such a text.
    """
    if not all(each):
        return ()
    if all(words == each[0] for words in each):
        return tuple((one,) for one in each[0])
    return (tuple(dict.fromkeys(chain.from_iterable(each))),)


_NONE: frozenset[str] = frozenset()


def _stop_words(config: LexicalConfig) -> frozenset[str]:
    if not config.stop_words:
        return _NONE
    found = STOP_WORDS.get(config.language, _NONE)
    if config.analyzer == 1:
        found |= STOPPED_WITHOUT_ELISION.get(config.language, _NONE)
    return found


@cache
def _chunk_pattern(ascii_text: bool, elided: frozenset[str]) -> re.Pattern[str]:
    """Finds chunks, as its one group where words may stand elided before them."""
    character = r"\w" if ascii_text else rf"[\w{marks()}{INVISIBLE}]"
    chunk = _chunk(character)
    if elided:
        before = "|".join(sorted(elided, key=len, reverse=True))
        chunk = rf"(?:(?i:{before})['\u2019](?={character}))?({chunk})"
    return re.compile(chunk, re.ASCII if ascii_text else 0)


@cache
def _letters() -> re.Pattern[str]:
    return re.compile(rf"(?:[^\W\d_]+[{marks()}]*)+")


@cache
def _unicode_parts() -> re.Pattern[str]:
    return re.compile(rf"(?:[^\W_]+[{marks()}]*)+")


def _chunk(character: str) -> str:
    """The pattern of a chunk, given that of a word character; every joint looks at one digit."""
    hyphen = rf"[{HYPHENS}](?:(?<=\d.)|(?=\d))"
    between_digits = r"[./:](?<=\d.)(?=\d)"
    thousands = r",(?<=\d.)(?=\d{3}(?!\w))"
    joint = f"(?:{hyphen}|{between_digits}|{thousands})"
    return rf"{character}+(?:['\u2019][sS](?!\w))?(?:{joint}{character}+)*"

"""Which scripts and languages texts are written in, by letters and by function words.

A guess that needs no model: enough to notice that a corpus is not in the language of its encoder.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from tamis.retriever.models.location import DEFAULT
from tamis.retriever.words.stop_words import STOP_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Trained on MIRACL in 15 languages, Apache-2.0; its uncased backbone cannot write Thai.
MULTILINGUAL = "opensearch-project/opensearch-neural-sparse-encoding-multilingual-v1"
OTHER = "other"
READ_CHARACTERS = 2000  # of a text
FOREIGN_SHARE = 0.1  # of a corpus that is not English, from which on people are told
_LEAST_STOP_WORDS = 0.1  # of a text's words, to be counted to a language
_WORDS = re.compile(r"[^\W\d_]+")
_SAME = {"porter", "dutch_porter"}  # other stemmers of a language that is there already
_ONE_LANGUAGE = {"hangul": "korean", "thai": "thai", "hebrew": "hebrew", "greek": "greek"}


@cache
def script_of(character: str) -> str:
    """The script of a letter, in lower case, as Unicode names it; empty for anything else."""
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "").split(" ")[0].lower()
    return {"hiragana": "kana", "katakana": "kana"}.get(name, name)


def language_of(text: str) -> str:
    """The language of a text: by its script, or by its function words; ``other`` if neither tells.

    One of the languages of the lexical channel's stop words, or ``japanese``, ``chinese``,
    ``korean``, ``thai``, ``hebrew``, ``greek``.
    """
    text = text[:READ_CHARACTERS]
    scripts = Counter(filter(None, map(script_of, text)))
    if not scripts:
        return OTHER
    (main, _), *_ = scripts.most_common(1)
    if "kana" in scripts and main in ("kana", "cjk"):
        return "japanese"
    if main == "cjk":
        return "chinese"
    return _ONE_LANGUAGE.get(main) or _by_words(text)


def _by_words(text: str) -> str:
    words = [word.casefold() for word in _WORDS.findall(text)]
    best, most = OTHER, 0.0
    for language, known in STOP_WORDS.items():
        share = sum(word in known for word in words) / max(len(words), 1)
        if language not in _SAME and share > max(most, _LEAST_STOP_WORDS):
            best, most = language, share
    return best


def languages_of(texts: Iterable[str]) -> dict[str, float]:
    """The share of each language among texts, largest first."""
    counts = Counter(map(language_of, texts))
    total = max(sum(counts.values()), 1)
    return {language: count / total for language, count in counts.most_common()}


def advice(shares: Mapping[str, float], encoder: str, language: str | None) -> str:
    """What to say to somebody who indexes such a corpus; empty if nothing.

    Args:
        shares: of `languages_of`.
        encoder: where the encoder was found; ``default`` was trained on English.
        language: of the lexical channel; None without it.
    """
    known = {name: share for name, share in shares.items() if name != OTHER}
    main = max(known, key=lambda name: known[name], default=None)
    if main is None:
        return ""
    foreign = sum(share for name, share in known.items() if name != "english")
    said = []
    if encoder == DEFAULT and foreign >= FOREIGN_SHARE:
        said.append(
            f"about {foreign:.0%} of the corpus is not English ({_listed(known)}), and the default "
            f"encoder was trained on English; --encoder {MULTILINGUAL} is a published model of 15 "
            "languages, --encoder bm25 indexes words alone"
        )
    if (
        language is not None
        and language in STOP_WORDS
        and main in STOP_WORDS
        and shares[main] > 0.5 > 5 * shares.get(_spoken(language), 0)
    ):
        said.append(f"words are stemmed as {language}; use --language {main}")
    return "; ".join(said)


def _spoken(stemmer: str) -> str:
    return {"porter": "english", "dutch_porter": "dutch"}.get(stemmer, stemmer)


def _listed(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:4])

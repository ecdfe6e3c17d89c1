"""Characters: normal forms, combining marks, scripts without spaces. Knows no words.

Invisible characters go, digits of any script become 0 to 9, marks go where a caller wants it.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import cache

LONGEST_SLICE = 1_000  # characters normalised at a time

_MARKED = re.compile(  # a Latin or Greek, Hebrew, Arabic letter and its marks, decomposed
    "([a-z\u0370-\u03ff])[\u0300-\u036f]+"
    "|([\u05d0-\u05ea])[\u0591-\u05c7]+"
    "|([\u0620-\u06d3])[\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06ed]+"
)
_NEVER_MARKED = str.maketrans(  # letters that no normal form takes apart
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "\u0131": "i",
    }
)

# Soft hyphen, joiners, direction marks: nobody sees them, copy and paste keeps them.
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
HYPHENS = "-\u2010\u2011"
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ece\u0edc-\u0edf"  # Lao
    "\u1000-\u103f\u1050-\u109d\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u3041-\u3096\u3099\u309a\u309d-\u309f"  # Hiragana
    "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Katakana
    "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
HANGUL = "\uac00-\ud7a3"
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")


@cache
def marks() -> str:
    """A regular expression's set of combining marks: Unicode's categories M, the first plane."""
    marks = [chr(c) for c in range(0x300, 0x10000) if unicodedata.category(chr(c))[0] == "M"]
    return "".join(marks)


@cache
def _replaced() -> dict[int, str | None]:
    """What `normalize` changes one by one: ``str.translate``'s table."""
    spans = re.findall("(.)(?:-(.))?", INVISIBLE)
    invisible = [
        code for first, last in spans for code in range(ord(first), ord(last or first) + 1)
    ]
    return dict.fromkeys(invisible) | dict.fromkeys(map(ord, HYPHENS), "-") | {0x2019: "'"}


@cache
def _replaceable() -> re.Pattern[str]:
    return re.compile(f"[{INVISIBLE}{HYPHENS[1:]}\u2019]")


@cache
def _cluster() -> re.Pattern[str]:
    return re.compile(f".[{marks()}]*")


def normalize(chunk: str, *, turkish: bool) -> str:
    """NFKC and case folding without invisible characters; the hyphens and apostrophes as ASCII."""
    if len(chunk) > LONGEST_SLICE:  # normalising a long run of marks takes quadratic time
        slices = (chunk[i : i + LONGEST_SLICE] for i in range(0, len(chunk), LONGEST_SLICE))
        return "".join(normalize(part, turkish=turkish) for part in slices)
    if _replaceable().search(chunk):
        chunk = chunk.translate(_replaced())
    chunk = unicodedata.normalize("NFKC", chunk)
    chunk = _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), chunk)
    if turkish:
        chunk = chunk.replace("\u0130", "i").replace("I", "\u0131")
    return unicodedata.normalize("NFKC", chunk.casefold())


def fold(word: str) -> str:
    """The word without the marks of its Latin, Greek, Hebrew and Arabic letters."""
    if word.isascii():
        return word
    bare = _MARKED.sub(r"\1\2\3", unicodedata.normalize("NFD", word))
    return unicodedata.normalize("NFC", bare).translate(_NEVER_MARKED)


def pairs(run: str) -> list[str]:
    """Overlapping pairs of characters, each taken with its marks; a lone character as it is."""
    found = clusters(run)
    if len(found) == 1:
        return found
    return [first + second for first, second in itertools.pairwise(found)]


def clusters(run: str) -> list[str]:
    """Characters, each with its marks."""
    return _cluster().findall(run)

"""Finds which of several languages a text is in, by the package py3langid."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.retriever.words.language_names import CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = "py3langid"
READ_CHARACTERS = 2_000  # of a text


class LanguageFinder:
    """Tells the languages it is given from one another; threads may share one."""

    def __init__(self, languages: Sequence[str]) -> None:
        """Take the names of the languages.

        Raises:
            InputError: the package is missing, or does not know one of them.
        """
        identifier = _identifier()
        known = {CODES[code] for code in identifier.labels if code in CODES}
        unknown = [name for name in languages if name not in known]
        if unknown:
            raise InputError(
                f"expected languages that {PACKAGE} finds in texts, found {', '.join(unknown)}; "
                "name the field that says a document's language: --language-field"
            )
        codes = CODES.keys() & set(identifier.labels)
        identifier.set_languages([code for code in sorted(codes) if CODES[code] in languages])
        self._identifier = identifier

    def language_of(self, text: str) -> str:
        """The likeliest of the languages, by a text's beginning."""
        code, _ = self._identifier.classify(text[:READ_CHARACTERS])
        return CODES[code]


def finder_version() -> str:
    """The version of the package; empty where it is not installed."""
    return metadata.version(PACKAGE) if find_spec(PACKAGE) is not None else ""


def _identifier() -> Any:  # noqa: ANN401  optional, and without types
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise InputError(
            f"expected {PACKAGE} to find the languages of texts, found it missing; install it with "
            "`pip install 'tamis[languages]'`, or name a field that says them: --language-field"
        ) from error
    return LanguageIdentifier.from_model_file(MODEL_FILE)

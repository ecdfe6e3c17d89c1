"""Names of languages: codes of ISO 639, and what the lexical channel calls them."""

from __future__ import annotations

from types import MappingProxyType

CODES = MappingProxyType(
    {
        "ar": "arabic",
        "ca": "catalan",
        "cs": "czech",
        "da": "danish",
        "de": "german",
        "el": "greek",
        "en": "english",
        "eo": "esperanto",
        "es": "spanish",
        "et": "estonian",
        "eu": "basque",
        "fa": "persian",
        "fi": "finnish",
        "fr": "french",
        "ga": "irish",
        "he": "hebrew",
        "hi": "hindi",
        "hu": "hungarian",
        "hy": "armenian",
        "id": "indonesian",
        "it": "italian",
        "ja": "japanese",
        "km": "khmer",
        "ko": "korean",
        "lo": "lao",
        "lt": "lithuanian",
        "my": "burmese",
        "nb": "norwegian",
        "ne": "nepali",
        "nl": "dutch",
        "nn": "norwegian",
        "no": "norwegian",
        "pl": "polish",
        "pt": "portuguese",
        "ro": "romanian",
        "ru": "russian",
        "sr": "serbian",
        "st": "sesotho",
        "sv": "swedish",
        "ta": "tamil",
        "th": "thai",
        "tr": "turkish",
        "uk": "ukrainian",
        "vi": "vietnamese",
        "yi": "yiddish",
        "zh": "chinese",
    }
)
"""Code of ISO 639-1 -> name, of languages that are stemmed, segmented or told by their script."""

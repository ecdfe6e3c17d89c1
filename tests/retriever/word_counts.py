"""The simplest dense vectors, for other frameworks' own stores: how often each word is there."""

import re

WORDS = ("red", "planet", "giant", "hottest", "rust", "spot", "second", "fourth")


def counts(text):
    """``[len(WORDS) + 1]`` floats; the last is 1, so that no vector is zero."""
    words = re.findall(r"\w+", text.lower())
    return [float(words.count(word)) for word in WORDS] + [1.0]

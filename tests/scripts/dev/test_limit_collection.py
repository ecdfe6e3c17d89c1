"""The collection in the shape of LIMIT: each question keeps its two answers."""

from __future__ import annotations

import runpy
from pathlib import Path

MADE = runpy.run_path(str(Path(__file__).parents[3] / "scripts/dev/make_limit_collection.py"))
SMALL = [
    "Ann Lee likes Snow Owls, Herbal Tea and Chess.",
    "Bo Kim likes Snow Owls, Goats and River Moss.",
    "Cy Orr likes Goats, Herbal Tea and Rye Bread.",
]
TERMS = [f"term{letter * n}" for n in range(1, 90) for letter in "abcdefghijklmnopqrstuvwxyz"]


def things(text):
    return set(MADE["split"](text.partition(" likes ")[2]))


def test_others_like_nothing_that_is_asked_about():
    made = MADE["collection"](SMALL, [*TERMS, "goat", "chess"], 15)
    assert [text for _, text in made[:3]] == SMALL
    assert [name for name, _ in made[:3]] == ["Ann Lee", "Bo Kim", "Cy Orr"]
    assert len({name for name, _ in made}) == 15
    asked = set.union(*map(things, SMALL))
    assert asked == {"Snow Owls", "Herbal Tea", "Chess", "Goats", "River Moss", "Rye Bread"}
    for name, text in made[3:]:
        assert text.startswith(f"{name} likes ")
        assert len(things(text)) == 45
        assert not things(text) & (asked | {"Goat"})


def test_some_are_made_of_the_words_asked_about_and_equal_files_give_an_equal_collection():
    made = MADE["collection"](SMALL, TERMS, 15)
    several = {thing for _, text in made[3:] for thing in things(text) if " " in thing}
    words = {"Snow", "Owls", "Herbal", "Tea", "River", "Moss", "Rye", "Bread"}
    assert several
    assert {word for thing in several for word in thing.split()} <= words
    assert made == MADE["collection"](SMALL, TERMS, 15)

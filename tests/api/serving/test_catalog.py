"""What a data folder knows survives reopening, and damage is noticed."""

import sqlite3

import pytest

import tamis.api.serving.catalog as module
from tamis.api.serving.catalog import CATALOG, Answer, Catalog
from tamis.index import CorruptionError, FormatError, InputError


def test_everything_is_there_after_reopening(tmp_path):
    with Catalog(tmp_path) as catalog:
        catalog.change_settings({"limit": 3, "gone": 1})
        catalog.change_settings({"gone": None})
        catalog.point_aliases({"live": "b1", "old": "b0"})
        catalog.point_aliases({"live": "b2", "old": None})
        catalog.keep_answer("key", Answer("request", 200, b"body", 5.0))
        task = catalog.new_task("build", "b2", 7.0)
    with Catalog(tmp_path) as catalog:
        assert catalog.settings() == {"limit": 3}
        assert catalog.aliases() == {"live": "b2"}
        assert catalog.answer("key") == Answer("request", 200, b"body", 5.0)
        assert catalog.answer("other") is None
        assert catalog.task(task.task) == task
        assert catalog.new_task("build", "b3", 8.0).task == task.task + 1
        assert catalog.forget_answers(before=6.0) == 1
        assert catalog.answer("key") is None
        catalog.verify()


def test_answers_are_forgotten_a_page_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAGE_ROWS", 4)
    with Catalog(tmp_path) as catalog:
        for n in range(23):
            catalog.keep_answer(f"key-{n}", Answer("request", 200, b"body", float(n % 7)))
        assert catalog.forget_answers(before=3.0) == 11
        kept = [n for n in range(23) if catalog.answer(f"key-{n}") is not None]
        assert kept == [n for n in range(23) if n % 7 >= 3]
        catalog.verify()


def test_the_newest_tasks_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_TASKS", 3)
    with Catalog(tmp_path) as catalog:
        numbers = [catalog.new_task("optimize", "birds", float(n)).task for n in range(8)]
        assert numbers == [1, 2, 3, 4, 5, 6, 7, 8]
        assert [record.task for record in catalog.tasks()] == [6, 7, 8]
        assert catalog.task(5) is None
    with Catalog(tmp_path) as catalog:
        assert catalog.new_task("optimize", "birds", 9.0).task == 9


@pytest.mark.parametrize("name", ["", "Live", "-a", "a" * 65, "../x", "a b"])
def test_a_name_that_could_be_a_path_is_refused(tmp_path, name):
    with Catalog(tmp_path) as catalog, pytest.raises(InputError, match="expected a name of 1"):
        catalog.point_aliases({name: "index"})


def test_a_swap_of_aliases_happens_as_a_whole_or_not_at_all(tmp_path):
    with Catalog(tmp_path) as catalog:
        catalog.point_aliases({"live": "a", "next": "b"})
        with pytest.raises(InputError):
            catalog.point_aliases({"live": "b", "next": "No"})
        assert catalog.aliases() == {"live": "a", "next": "b"}


def test_a_changed_row_is_noticed(tmp_path):
    with Catalog(tmp_path) as catalog:
        catalog.point_aliases({"live": "a"})
    database = sqlite3.connect(tmp_path / CATALOG)
    database.execute("UPDATE aliases SET value = ?", (b"b",))
    database.commit()
    database.close()
    with Catalog(tmp_path) as catalog, pytest.raises(CorruptionError, match="'live' of aliases"):
        catalog.aliases()


def test_a_damaged_database_never_gives_a_wrong_answer(tmp_path):
    with Catalog(tmp_path) as catalog:
        catalog.point_aliases({f"alias-{n}": f"index-{n}" for n in range(50)})
        truth = catalog.aliases()
    whole = (tmp_path / CATALOG).read_bytes()
    refused = 0
    for at in range(0, len(whole), 101):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        (tmp_path / CATALOG).write_bytes(damaged)
        try:
            with Catalog(tmp_path) as catalog:
                catalog.verify()
                assert catalog.aliases() == truth
        except FormatError:
            refused += 1
    assert refused > 10

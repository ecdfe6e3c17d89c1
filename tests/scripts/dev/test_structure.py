"""Counts of rooms, arrows, floors and circles, on trees small enough to count by hand."""

import pytest
import structure

FILES = {
    "index/__init__.py": "",
    "index/low.py": "def used():\n    pass\n\n\ndef idle():\n    pass\n\n\nclass Twin:\n    pass\n",
    "index/wing/__init__.py": "",
    "index/wing/a.py": "from tamis.index.low import used\n\nused()\n\n\nclass Twin:\n    pass\n",
    "index/wing/b.py": "if TYPE_CHECKING:\n    from tamis.index.wing import a\n",
    "index/top.py": "import tamis.index.wing.b\nfrom tamis.index import low\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return structure.read_tree(tmp_path)


def test_arrows_join_the_rooms_of_one_folder(tree):
    assert tree.arrows(("index",)) == {
        "__init__": set(),
        "low": set(),
        "wing": {"low"},
        "top": {"wing", "low"},
    }


def test_imports_for_type_checkers_count(tree):
    assert tree.arrows(("index", "wing"))["b"] == {"a"}


def test_floors_are_the_longest_chain(tree):
    assert structure.floors(tree.arrows(("index",))) == 3


@pytest.mark.parametrize(
    ("arrows", "found"),
    [({"a": {"b"}, "b": set()}, False), ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, True)],
)
def test_a_circle_is_found_over_any_number_of_steps(arrows, found):
    assert bool(structure.circle(arrows)) == found


def test_what_only_tests_use_is_named_unless_a_page_tells_of_it(tree):
    assert structure.unused(tree, "") == [
        *("index/low.py: Twin", "index/low.py: idle", "index/wing/a.py: Twin")
    ]
    assert structure.unused(tree, "`Twin` and `idle` are for users") == []


def test_a_list_of_names_uses_none_of_them(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "low.py").write_text('__all__ = ["idle"]\n\n\ndef idle():\n    pass\n')
    assert structure.unused(structure.read_tree(tmp_path), "") == ["index/low.py: idle"]


def test_one_class_name_twice_in_a_room_is_named(tree):
    assert structure.twin_classes(tree) == ["class Twin: index/low.py, index/wing/a.py"]

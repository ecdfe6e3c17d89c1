"""Imports point one way: scripts -> api, eval -> retriever -> index, kernels."""

import ast
from pathlib import Path

import pytest
import structure

ROOT = Path(__file__).parent.parent
ROOMS = ("retriever", "index", "kernels", "api", "eval", "scripts")
MAY_USE = {
    "index": set(),
    "kernels": set(),
    "retriever": {"index", "kernels"},
    "api": {"retriever", "index"},
    "eval": {"retriever", "index"},
    "scripts": {"api", "eval", "retriever", "index", "kernels"},
}
WINGS = {  # what each wing may use of its own room: those below it
    "index/files": {"errors"},
    "index/segment": {"errors", "files", "interrupts", "topk", "vectors"},
    "index/generations": {"errors", "files", "segment", "topk", "vectors"},
    "index/exchange": {"errors", "files", "index", "segment", "vectors"},
    "index/writing": {
        *("collection", "errors", "files", "generations", "index", "params", "segment", "vectors")
    },
    "index/upkeep": {"errors", "files", "generations", "index", "segment", "vectors", "writing"},
    "retriever/words": set(),
    "retriever/models": {"vocabulary"},
    "retriever/corpus": {"models", "types", "words"},
    "retriever/builds": {
        "corpus",
        "editor",
        "indexing",
        "memory",
        "models",
        "recorded",
        "types",
        "vocabulary",
        "words",
    },
    "retriever/first_stage": {"corpus", "search_options", "types", "vocabulary", "words"},
    "retriever/fusion": {
        *("answers", "corpus", "first_stage", "search_options", "searcher", "types", "words")
    },
    "retriever/rerank": {"models", "types"},
    "retriever/training": {"corpus", "gpu_index", "models", "rerank", "vocabulary", "words"},
    "retriever/integrations": {"search_options", "searcher", "types"},
    "api/broker": {
        *("body", "limits", "memory", "messages", "operations", "problems", "serving", "work")
    },
    "api/client": {"messages"},
    "api/messages": {"limits", "problems"},
    "api/serving": {
        *("body", "limits", "malloc", "memory", "messages", "metrics", "problems", "work")
    },
    "api/operations": {
        "body",
        "limits",
        "memory",
        "messages",
        "metrics",
        "problems",
        "serving",
        "work",
    },
    "api/http": {
        *("body", "broker", "limits", "memory", "messages", "metrics", "operations"),
        *("problems", "serving", "work"),
    },
    "api/work": {"memory", "problems"},
    "kernels/head": {"launch", "product", "tuned"},
    "kernels/blocks": {"launch", "tuned"},
    "kernels/search": set(),
}
NOT_IN_INDEX = {"torch", "transformers", "triton", "tokenizers"}


@pytest.fixture(scope="module")
def tree():
    return structure.read_tree()


def modules(room):
    return sorted(path for path in (ROOT / room).rglob("*.py") if "build" not in path.parts)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room):
    assert modules(room)
    for path in modules(room):
        for name in imported(path):
            if name.startswith("tamis."):
                other = name.split(".")[1]
                assert other == room or other in MAY_USE[room], f"{path} imports {name}"


def test_what_serves_imports_nothing_of_training():
    training = ROOT / "retriever" / "training"
    for path in modules("retriever"):
        if training not in path.parents:
            for name in imported(path):
                assert not name.startswith("tamis.retriever.training"), f"{path} imports {name}"


@pytest.mark.parametrize("place", WINGS)
def test_a_wing_uses_only_what_lies_below_it(tree, place):
    room, wing = place.split("/")
    assert tree.arrows((room,))[wing] <= WINGS[place]


def test_every_wing_is_named(tree):
    wings = {"/".join(folder) for folder in tree.folders() if len(folder) == 2}
    assert {wing for wing in wings if not wing.startswith(("scripts", "eval"))} == set(WINGS)


def test_no_two_classes_of_a_room_share_a_name(tree):
    assert structure.twin_classes(tree) == []


def test_the_structure_keeps_its_bounds(tree):
    assert structure.faults(tree) == []


def test_the_index_knows_no_models():
    for path in modules("index"):
        assert not {name.split(".")[0] for name in imported(path)} & NOT_IN_INDEX, path


def test_nothing_that_unpickles_or_runs_foreign_code_is_ever_called():
    forbidden = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
    for room in ROOMS:
        for path in modules(room):
            assert not {name.split(".")[0] for name in imported(path)} & forbidden, path
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg in {
                    "trust_remote_code",
                    "allow_pickle",
                }:
                    assert node.value.value is False, f"{path}:{node.lineno}"
                if isinstance(node, ast.Attribute) and node.attr == "load":
                    owner = getattr(node.value, "id", "")
                    assert owner not in {"torch", "np", "numpy"}, f"{path}:{node.lineno}"
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in {"eval", "exec"}, f"{path}:{node.lineno}"


def test_nothing_happens_at_import():
    """A module's top level holds definitions, imports and constants; it calls no effects."""
    for room in ROOMS:
        for path in modules(room):
            for node in ast.parse(path.read_text()).body:
                is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                assert is_docstring or not isinstance(node, ast.Expr | ast.For | ast.While), (
                    f"{path}:{node.lineno} runs at import"
                )

"""Walks the code for work that begins in the background, so that none is forgotten."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = ("api", "index")
BEGINS = {  # what begins it, and which of its arguments the work is
    "Repeater": 1,
    "create_task": 0,
    "ensure_future": 0,
    "run_in_executor": 1,
    "_begin_upkeep": 1,
    "submit": 0,
    "map": 0,
    "Popen": None,
}


def background_paths():
    """All work that the server begins in the background: ``FILE: WORK`` each."""
    return {
        f"{path.relative_to(ROOT)}: {work}"
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for work in _begun(ast.parse(path.read_text()))
    }


def _begun(tree):
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        if last == "Thread":
            (target,) = (word.value for word in node.keywords if word.arg == "target")
            yield ast.unparse(target)
        elif last in BEGINS and (last != "map" or name == "pool.map"):
            place = BEGINS[last]
            work = node.func if place is None else node.args[place]
            yield ast.unparse(work.func if isinstance(work, ast.Call) else work)


def asking_methods():
    """The methods of `Storage` that ask the system for something themselves."""
    tree = ast.parse((ROOT / "index/files/storage.py").read_text())
    (storage,) = (
        one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Storage"
    )
    for method in storage.body:
        if isinstance(method, ast.FunctionDef):
            asked = {
                ast.unparse(node.func) for node in ast.walk(method) if isinstance(node, ast.Call)
            }
            if any(_asks(name) for name in asked):
                yield method.name


def _asks(name):
    module, _, function = name.rpartition(".")
    return name == "open" or (module in ("os", "system") and function != "close")

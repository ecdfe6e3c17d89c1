"""The structure of the product in numbers, and the bounds that it keeps.

    python scripts/dev/structure.py            # counts of each folder; exit 1 past a bound
    python scripts/dev/structure.py --arrows index

A *room* is a module or folder directly in a folder. An *arrow* is an import between two rooms of
one folder; imports for type checkers count. *Floors* are the rooms on the longest chain of arrows.
Rooms that import one another, over however many steps, are a *circle*.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TOP = ("retriever", "index", "kernels", "api", "eval", "scripts")
MOST_ROOMS = {"index": 15, "retriever": 24, "api": 15}
MOST_NAMES = {("retriever/indexing.py", "index"): 8}  # names that a module takes from another room
FOR_OTHERS = {  # what users call and Tamis does not, with the page that tells of it
    "from_scipy": "scripts/docs/pages/reference/index.md",
    "patch_sparse_encoder": "scripts/docs/pages/how-to/models.md",
    "render_averages": "eval/README.md",
    "render_tables": "eval/README.md",
    "head_sum": "kernels/README.md",
}
MAY_SHARE = {"TamisRetriever"}  # one a framework, each in a module of its own
NOT_IMPORTED = ("dev", "docs", "recipes", "deploy")  # folders of scripts that no package holds

Module = tuple[str, ...]


@dataclass(frozen=True)
class Tree:
    """The modules of the product and what each imports, by their places in the tree.

    Attributes:
        sources: the parsed source of each module.
        imports: the modules of the product that each imports.
    """

    sources: dict[Module, ast.Module]
    imports: dict[Module, set[Module]]

    def folders(self) -> list[Module]:
        """Every folder that holds modules, from the top down."""
        return sorted({module[:end] for module in self.sources for end in range(1, len(module))})

    def arrows(self, folder: Module) -> dict[str, set[str]]:
        """For each room of a folder, the rooms beside it that it imports."""
        depth = len(folder)
        found: dict[str, set[str]] = {}
        for module, imported in self.imports.items():
            if module[:depth] != folder or len(module) == depth:
                continue
            others = found.setdefault(module[depth], set())
            others |= {to[depth] for to in imported if to[:depth] == folder and len(to) > depth}
        return {room: others - {room} for room, others in found.items()}


def read_tree(root: Path = ROOT) -> Tree:
    """Read every module of the product below a checkout."""
    paths = chain.from_iterable((root / top).rglob("*.py") for top in TOP)
    sources = {}
    for path in paths:
        module = path.relative_to(root).with_suffix("").parts
        if module[1] not in NOT_IMPORTED:
            sources[module] = ast.parse(path.read_text("utf-8"))
    return Tree(sources, {module: _imports(tree, sources) for module, tree in sources.items()})


def _imports(tree: ast.Module, sources: dict[Module, ast.Module]) -> set[Module]:
    return {_module(name, sources) for name in imported_names(tree)} - {()}


def imported_names(tree: ast.Module) -> set[Module]:
    """Dotted names below ``tamis`` that a module imports; ``from m import n`` gives ``m.n``."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {tuple(name.split(".")[1:]) for name in names if name.startswith("tamis.")}


def _module(name: Module, sources: dict[Module, ast.Module]) -> Module:
    """The module that holds a name, with ``__init__`` for a package; () where there is none."""
    for end in range(len(name), 0, -1):
        for module in (name[:end], (*name[:end], "__init__")):
            if module in sources:
                return module
    return ()


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Rooms that import one another in a ring, or none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def floors(arrows: dict[str, set[str]]) -> int:
    """The longest chain of arrows, counted in rooms; 0 where there is a circle."""
    if circle(arrows):
        return 0
    height: dict[str, int] = {}
    for room in TopologicalSorter(arrows).static_order():
        height[room] = 1 + max((height[other] for other in arrows.get(room, ())), default=0)
    return max(height.values(), default=0)


def names_taken(tree: Tree, module: Module, room: str) -> set[Module]:
    """Names that a module imports from another room."""
    return {name for name in imported_names(tree.sources[module]) if name[0] == room}


def twin_classes(tree: Tree) -> list[str]:
    """Names that two classes of one room share."""
    homes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module, source in tree.sources.items():
        for node in source.body:
            if isinstance(node, ast.ClassDef):
                homes[module[0], node.name].append("/".join(module) + ".py")
    return [
        f"class {name}: {', '.join(at)}"
        for (_, name), at in homes.items()
        if len(at) > 1 and name not in MAY_SHARE
    ]


def unused(tree: Tree, pages: str) -> list[str]:
    """Functions and classes that nothing in the product mentions; tests do not count.

    Names are compared, not what they stand for, so that a few unused ones go unseen.

    Args:
        tree: the product.
        pages: what may mention a name beside the product: documentation, developers' scripts.
    """
    said = Counter(chain.from_iterable(_said(*one) for one in tree.sources.items()))
    said.update(re.findall(r"\w+", pages))
    found = []
    for module, source in tree.sources.items():
        names = {node.name for node in _definitions(source)}
        found += ["/".join(module) + f".py: {name}" for name in names if not said[name]]
    return sorted(found)


def _definitions(source: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Of a module and its classes, less what a base class of somebody else's asks for."""
    own = {node.name for node in source.body if isinstance(node, ast.ClassDef)}
    for node in source.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("__"):
            yield node
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} <= own:
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef))
            yield from (method for method in methods if not method.name.startswith("__"))


def _said(module: Module, source: ast.Module) -> Iterator[str]:
    """Every name that a module mentions; a list ``__all__`` counts in a package's face alone."""
    parts = [node for node in source.body if module[-1] == "__init__" or not _is_all(node)]
    for node in chain.from_iterable(map(ast.walk, parts)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                yield name


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def read_pages(root: Path = ROOT) -> str:
    """The documentation and the developers' scripts, this one left out."""
    paths = [*root.glob("*.md"), *root.glob("*/**/*.md"), root / "pyproject.toml"]
    paths += [
        path for path in (root / "scripts" / "dev").iterdir() if path.name != Path(__file__).name
    ]
    return "\n".join(path.read_text("utf-8") for path in paths if path.is_file())


def faults(tree: Tree) -> list[str]:
    """Every bound that is passed, a line each."""
    found = []
    for folder in tree.folders():
        arrows = tree.arrows(folder)
        place = "/".join(folder)
        if ring := circle(arrows):
            found.append(f"{place}: {' -> '.join(ring)} import one another")
        rooms = len(arrows) - ("__init__" in arrows)
        if rooms > MOST_ROOMS.get(place, rooms):
            found.append(f"{place}: {rooms} rooms, expected at most {MOST_ROOMS[place]}")
    for (path, room), most in MOST_NAMES.items():
        taken = names_taken(tree, Path(path).with_suffix("").parts, room)
        if len(taken) > most:
            found.append(f"{path}: {len(taken)} names from {room}, expected at most {most}")
    found += [f"{twin} share a name" for twin in twin_classes(tree)]
    idle = [name for name in unused(tree, read_pages()) if name.split()[-1] not in FOR_OTHERS]
    return found + [f"{name} is used by nothing but tests" for name in idle]


def main() -> None:
    """Print the counts of each folder, or the arrows of one; exit 1 where a bound is passed."""
    tree = read_tree()
    if sys.argv[1:2] == ["--arrows"]:
        for room, others in sorted(tree.arrows(tuple(sys.argv[2].split("/"))).items()):
            print(f"{room}: {' '.join(sorted(others))}")
        return
    for folder in tree.folders():
        arrows = tree.arrows(folder)
        rooms = len(arrows) - ("__init__" in arrows)
        count = sum(Counter({room: len(others) for room, others in arrows.items()}).values())
        print(f"{'/'.join(folder):32} {rooms:3} rooms {count:4} arrows {floors(arrows):3} floors")
    found = faults(tree)
    for line in found:
        print(line, file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

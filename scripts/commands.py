"""The commands by name: where each lies, and what it does in one line.

A command is imported when it is asked for, so that none waits for the imports of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer

from tamis.scripts.examples import example
from tamis.scripts.output import Command


class Place(NamedTuple):
    """Where a command lies, and its line in the list of all.

    Attributes:
        module: in this folder.
        function: of the command; of a group, what gives its `typer.Typer`.
        line: what it does, at most 66 characters, so that it fits a terminal.
    """

    module: str
    function: str
    line: str


PLACES = {
    "index": Place("index", "index", "Build an index of a corpus."),
    "assemble": Place("assemble", "assemble", "Make an index of pieces of `tamis index --piece`."),
    "split": Place("split", "split", "Divide an index into shards, each for a server."),
    "add": Place("add", "add", "Add documents to an index, replacing those of the same ids."),
    "patch": Place("patch", "patch", "Change fields of documents; nothing is encoded again."),
    "delete": Place("delete", "delete", "Delete documents by id, those of a filter, or all."),
    "search": Place("search", "search", "Search an index."),
    "suggest": Place("suggest", "suggest", "Complete the last word of what is being typed."),
    "synonyms": Place("synonyms", "synonyms", "Show or replace synonyms and stop words."),
    "serve": Place("serve", "serve", "Serve indexes over HTTP."),
    "eval": Place("evaluate", "eval_command", "Evaluate on judged queries: nDCG and more."),
    "encode": Place("encode", "encode", "Encode a corpus to sparse vectors, without an index."),
    "train": Place("train", "train_command", "Train a sparse encoder or a reranker."),
    "rerank": Place("rerank", "rerank", "Rerank a run; its queries need no judgements."),
    "info": Place("info", "info", "Show what an index holds and how it was made."),
    "verify": Place("verify", "verify", "Compare every file of an index with its checksum."),
    "optimize": Place("optimize", "optimize", "Rebuild an index of the documents it holds."),
    "tune": Place("tune", "tune", "Measure an index with real queries; keep the best settings."),
    "snapshot": Place("snapshot", "snapshot", "Keep the index as it is now in another folder."),
    "restore": Place("snapshot", "restore", "Copy a snapshot to a new place."),
    "export": Place("export", "export", "Write the vectors of an index for other programs."),
    "upgrade": Place("upgrade", "upgrade", "Bring an index to this version's format."),
    "estimate": Place("estimate", "estimate", "Say what memory, disk and time an index will take."),
    "doctor": Place("doctor", "doctor", "Show what is installed, and what is missing."),
    "demo": Place("demo", "demo", "Index a sample collection, evaluate and serve it."),
    "bench": Place("bench.commands", "bench_commands", "Measure speed and memory on this machine."),
}  # fmt: skip
GROUPS = ("bench",)


class CommandsByName(Mapping[str, Any]):
    """The commands as typer takes them."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  typer brings its own click, or uses the other
        if name not in self._loaded:
            self._loaded[name] = _load(name, PLACES[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES)

    def __len__(self) -> int:
        return len(PLACES)


def _load(name: str, place: Place) -> Any:  # noqa: ANN401
    function = getattr(import_module(f"tamis.scripts.{place.module}"), place.function)
    if name in GROUPS:
        return typer.main.get_command(function())
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Command, epilog=example(name))(function)
    return typer.main.get_command(alone)

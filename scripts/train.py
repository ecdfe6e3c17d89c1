"""``tamis train``: a configuration to a trained encoder, or to a trained reranker."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.scripts.output import print_json
from tamis.scripts.progress import progress_on_terminal


def train_command(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG.toml", help="Configuration; see scripts/recipes/training."),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in run.out.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Such as cpu or cuda:0; by default CUDA where there is one.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that the paths of data start from; by default $TAMIS_DATA or ."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output.")
    ] = False,
) -> None:
    """Train a sparse encoder, or a reranker where the configuration has [reranker]."""
    import torch

    from tamis.retriever.training.read_config import read_config
    from tamis.retriever.training.reranker.recipe import is_reranker_recipe
    from tamis.retriever.training.trainer import train

    if is_reranker_recipe(config):
        _train_reranker(config, data, device, resume, json_output)
        return
    settings = read_config(config)
    root = data or Path(os.environ.get("TAMIS_DATA", "."))
    torch.set_float32_matmul_precision("high")  # scores of a batch on tensor cores
    lines: list[dict[str, Any]] = []
    with progress_on_terminal(unit="steps") as bar:
        folder = train(
            settings,
            root,
            resume=resume,
            device=device,
            report=_reporter(lines),
            progress=partial(bar, "train") if bar else _nobody_looks,
        )
    if os.environ.get("RANK", "0") != "0":
        return  # one of several processes; the first speaks
    if json_output:
        print_json({"model": str(folder), "log": str(folder.parent / "log.jsonl"), "last": lines})
    else:
        typer.echo(f"{folder}: trained; use it with `tamis index --encoder {folder}`")


def _train_reranker(
    config: Path, data: Path | None, device: str | None, resume: bool, json_output: bool
) -> None:
    import torch

    from tamis.retriever.training.reranker.recipe import LOG, read_recipe, train_reranker

    torch.set_float32_matmul_precision("high")
    root = data or Path(os.environ.get("TAMIS_DATA", "."))
    lines: list[dict[str, Any]] = []
    recipe = read_recipe(config)
    folder = train_reranker(recipe, root, resume=resume, device=device, report=_reporter(lines))
    if json_output:
        print_json({"model": str(folder), "log": str(folder.parent / LOG), "last": lines})
    else:
        typer.echo(f"{folder}: trained; use it as BlockReranker.from_pretrained({str(folder)!r})")


def _nobody_looks(done: int, total: int) -> None:
    """Takes progress where there is no terminal."""


def _reporter(last: list[dict[str, Any]]) -> Any:  # noqa: ANN401  a function of one line
    """Shows lines on a terminal and keeps the last of each kind."""

    def report(line: dict[str, Any]) -> None:
        last[:] = [one for one in last if _kind(one) != _kind(line)] + [line]
        if sys.stderr.isatty():
            typer.echo(_summary(line), err=True)

    return report


def _kind(line: dict[str, Any]) -> str:
    return next((kind for kind in ("dev", "changed") if kind in line), "loss")


def _summary(line: dict[str, Any]) -> str:
    if "dev" in line:
        from tamis.retriever.training.validation import best_point

        point, best = best_point(line["dev"]["mean"])
        return f"step {line['step']}: dev nDCG@10 {best:.4f} at terms/channel {point}"
    if "changed" in line:
        changed = (
            f"{name} {now} in place of {was}" for name, (was, now) in line["changed"].items()
        )
        return f"step {line['step']}: goes on with {', '.join(changed)}"
    if "terms" not in line:
        return f"step {line['step']}  loss {line['loss']:.4f}"
    return (
        f"step {line['step']}/{line['steps']}  loss {line['loss']:.4f}  "
        f"terms {line['terms']:.0f}  {line['passages_per_s']:.0f} passages/s"
    )

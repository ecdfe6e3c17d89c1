"""``tamis bench``: measurements on the machine at hand; each behind a gate of correctness."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.scripts.extras import require
from tamis.scripts.output import JsonOption, print_json


def bench_commands() -> typer.Typer:
    """The group of measuring commands."""
    group = typer.Typer(
        name="bench", no_args_is_help=True, help="Measure speed and memory on this machine."
    )
    group.command("head")(head)
    group.callback()(_bench)
    return group


def head(
    repeats: Annotated[int, typer.Option(min=1, help="Launches a median is taken of.")] = 40,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the baselines and the largest batch.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure the fused SPLADE head against PyTorch; needs a CUDA device."""
    if json and out is not None:
        raise typer.BadParameter("give --json or --out, one of the two")
    require("encode", "gpu")
    _require_cuda()
    from tamis.scripts.bench_head import bench_head, measure_head

    if json:
        print_json(measure_head(repeats, quick=quick))
    else:
        bench_head(out, repeats, quick=quick)


def _bench() -> None:
    """Keeps the group a group while it has but one command."""


def _require_cuda() -> None:
    import torch

    from tamis.index.errors import InputError

    if not torch.cuda.is_available():
        raise InputError(
            "expected a CUDA device, found none; run this on a machine with one, and "
            "`tamis doctor` shows what torch sees"
        )

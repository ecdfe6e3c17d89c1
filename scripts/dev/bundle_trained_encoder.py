#!/usr/bin/env python
"""Put a trained model into the package as its default encoder: int8, with the terms it keeps.

    python scripts/dev/bundle_trained_encoder.py build/default-model/model [MODEL ...]

Several models, trained from one base with other seeds, are averaged.

The card and the licence beside the weights are written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tamis.retriever.models.location import BUNDLED
from tamis.retriever.training.averaging import average_models
from tamis.retriever.training.rounding import round_model

NAME = "tamis-minilm-l6"
KEPT_TERMS = 200


def main() -> None:
    """Round the mean of the arguments' models into the package."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} MODEL_FOLDER ...")
    with TemporaryDirectory() as work:
        mean = average_models([Path(one) for one in sys.argv[1:]], Path(work) / "mean")
        out = round_model(mean, BUNDLED, name=NAME, licence="apache-2.0", top_n=KEPT_TERMS)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Put a trained model into the package as its default encoder: int8, with the terms it keeps.

    python scripts/dev/bundle_trained_encoder.py build/default-model/model

The card and the licence beside the weights are written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tamis.retriever.model_location import BUNDLED
from tamis.retriever.training.rounding import round_model

NAME = "tamis-minilm-l6"
KEPT_TERMS = 200


def main() -> None:
    """Round the model of the first argument into the package."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} MODEL_FOLDER")
    out = round_model(Path(sys.argv[1]), BUNDLED, name=NAME, licence="apache-2.0", top_n=KEPT_TERMS)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()

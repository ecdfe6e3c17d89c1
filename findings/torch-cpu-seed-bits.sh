#!/usr/bin/env bash
# torch's generator on a processor hears only the lower 32 bits of a seed, and keeps all 64.
#
# manual_seed takes any 64 bits, and initial_seed() gives them back whole. But the Mersenne Twister
# behind a CPU generator is seeded with 32 of them: two seeds that differ above draw the same
# numbers, without a word. Who makes seeds of (run, epoch, worker) by shifting, or by a hash whose
# upper half varies, trains every "seed" on the same order of examples. NumPy's generators take all bits.
#
# What to do: fold a seed into 32 bits by a hash of all of it, before manual_seed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import torch

seeds = 7, 7 + (1 << 32), 7 + (5 << 40)


def order(seed):
    return torch.randperm(10, generator=torch.Generator().manual_seed(seed)).tolist()


print("torch", torch.__version__, "numpy", np.__version__)
for seed in seeds:
    kept = torch.Generator().manual_seed(seed).initial_seed()
    own = np.random.default_rng(seed).permutation(10).tolist()
    print(f"seed {seed}: initial_seed() {kept}, torch {order(seed)}, numpy {own}")
    assert kept == seed
assert order(8) != order(7)
if len({tuple(order(seed)) for seed in seeds}) != 1:
    sys.exit("changed: seeds that differ above 32 bits draw other numbers")
PYTHON

#!/usr/bin/env bash
# torch.ops.onednn.qlinear_pointwise is over a thousand times slower for int8 rows than for uint8 rows.
#
# The product of a linear layer in int8, as torch offers it on a processor. Weights are int8, so one
# takes int8 activations beside them: they are accepted, the result is exact, and the call takes
# milliseconds in place of microseconds. qlinear_prepack has laid the weights out for unsigned rows
# without a word, and for signed ones oneDNN falls back to its reference loop (ref_int8 with
# ONEDNN_VERBOSE=1). In a model it looks as if int8 were slow on this processor.
#
# What to do: give rows as uint8 around a zero point of 128. On a processor with AMX, which
# multiplies signed rows as well, nothing is claimed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
import time

import torch

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
# small enough for pairs of products to fit 16 bits, where a processor adds them there
matrix = torch.randint(-60, 61, (256, 256), dtype=torch.int8, generator=generator)
signed = torch.randint(-127, 128, (32, 256), dtype=torch.int8, generator=generator)
unsigned = (signed.int() + 128).to(torch.uint8)
packed = torch.ops.onednn.qlinear_prepack(matrix, None)
scales, zeros = torch.ones(256), torch.zeros(256, dtype=torch.int64)
truth = signed.int() @ matrix.int().T


def multiply(rows, zero):
    return torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, zero, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


def least(rows, zero):
    took = []
    for _ in range(4):
        began = time.thread_time()
        found = multiply(rows, zero)
        took.append(time.thread_time() - began)
    assert torch.equal(found.int(), truth)
    return min(took) * 1e6


times = {"int8": least(signed, 0), "uint8 around 128": least(unsigned, 128)}
print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
for name, us in times.items():
    print(f"rows of {name}: {us:.0f} us of processor time, the exact product")
if torch.cpu._is_amx_tile_supported():
    print("a processor with AMX: nothing is claimed")
elif times["int8"] < 10 * times["uint8 around 128"]:
    sys.exit("changed: int8 rows are not ten times slower")
PYTHON

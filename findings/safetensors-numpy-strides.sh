#!/usr/bin/env bash
# safetensors.numpy.save_file writes the bytes behind an array's first element, whatever its strides.
#
# Surprise: an array that is a transposed or Fortran-ordered view keeps its shape and dtype and comes
# back with other numbers, without an error or a warning. The same library's torch module refuses
# such a tensor ("non contiguous"). `numpy.asarray(array, order="C")` before saving is the remedy.
#
# Installs pinned packages into a temporary folder; exits with 1 if the behaviour has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.0 safetensors==0.8.0
cd "$place"
env/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

rows = np.arange(6, dtype=np.float32).reshape(2, 3)
arrays = {
    "C order": rows,
    "Fortran order": np.asfortranarray(rows),
    "transposed view": np.arange(6, dtype=np.float32).reshape(3, 2).T,
    "every second column": np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2],
}
save_file(arrays, "arrays.safetensors")
found = load_file("arrays.safetensors")
print("numpy", version("numpy"), "safetensors", version("safetensors"))
other = []
for name, array in arrays.items():
    same = np.array_equal(array, found[name])
    print(f"{name}: shape {found[name].shape}, {'equal' if same else 'other numbers'}")
    print("  saved ", array.tolist())
    print("  loaded", found[name].tolist())
    if not same:
        other.append(name)
if other != ["Fortran order", "transposed view", "every second column"]:
    sys.exit(f"changed: other numbers for {other}")
PYTHON

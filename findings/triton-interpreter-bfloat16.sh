#!/usr/bin/env bash
# Under Triton's interpreter a product of bfloat16 matrices is wrong by ten orders of magnitude.
#
# TRITON_INTERPRET=1 runs kernels with NumPy, which is how they are tested where no GPU is. NumPy has
# no bfloat16, so the interpreter keeps such numbers as their 16 bits. `tl.load`, `tl.store` and
# conversions know that; `tl.dot` of two bfloat16 blocks multiplies the bits as whole numbers: no
# error, no warning, and float16 and float32 are right beside it. A kernel that is right on a GPU
# fails its test, or a tolerance is blamed.
#
# What to do: convert both blocks to float32 before `tl.dot` where the kernel is interpreted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 triton==3.9.0 numpy==2.4.6
cd "$folder"
cat > product.py <<'PYTHON'
import torch
import triton
import triton.language as tl

SIZE = 16


@triton.jit
def product(left, right, out, SIZE: tl.constexpr, CONVERT: tl.constexpr):
    places = tl.arange(0, SIZE)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    a, b = tl.load(left + places), tl.load(right + places)
    if CONVERT:
        a, b = a.to(tl.float32), b.to(tl.float32)
    tl.store(out + places, tl.dot(a, b))


def largest_error(dtype, convert=False):
    torch.manual_seed(0)
    left, right = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    out = torch.zeros(SIZE, SIZE)
    product[(1,)](left, right, out, SIZE, convert)
    return (out - left.float() @ right.float()).abs().max().item()


print("triton", triton.__version__, "torch", torch.__version__)
errors = {str(dtype): largest_error(dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16)}
errors["torch.bfloat16, converted first"] = largest_error(torch.bfloat16, convert=True)
for name, error in errors.items():
    print(f"{name}: largest error {error:.3g}")
assert errors["torch.float32"] < 1e-4 and errors["torch.float16"] < 1e-4
assert errors["torch.bfloat16, converted first"] < 1e-4
assert errors["torch.bfloat16"] > 1e6
PYTHON
TRITON_INTERPRET=1 venv/bin/python product.py

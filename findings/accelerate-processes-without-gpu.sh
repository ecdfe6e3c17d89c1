#!/usr/bin/env bash
# accelerate on a machine without a GPU: processes that torchrun starts each think they are alone.
#
# Surprise: torchrun starts two processes, and PartialState() joins them in torch's process group.
# Yet in each it says one process, index 0, "no distribution", and is_main_process holds in both: two
# trainings run side by side and write the same files, without a warning. PartialState(cpu=True)
# says two processes, indexes 0 and 1. Ask for it wherever torch finds no GPU.
#
# Installs pinned packages into a temporary folder; exits with 1 if the behaviour has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet --disable-pip-version-check accelerate==1.15.0 torch==2.13.0 numpy==2.4.6
cd "$place"
cat > state.py <<'PYTHON'
import sys
from importlib.metadata import version

from accelerate import PartialState
from torch import distributed

state = PartialState(cpu=sys.argv[1] == "cpu")
rank, size = distributed.get_rank(), distributed.get_world_size()
print(
    f"accelerate {version('accelerate')}, torch {version('torch')}: torch says process {rank} of "
    f"{size}; accelerate says process {state.process_index} of {state.num_processes}, "
    f"main: {state.is_main_process}"
)
distributed.destroy_process_group()
PYTHON
export CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
for asked in default cpu; do
    echo "PartialState, $asked:"
    env/bin/torchrun --nproc-per-node 2 --standalone state.py "$asked" 2> log | sort | tee "$asked" || { cat log; exit 1; }
done
if [ "$(grep -c 'accelerate says process 0 of 1, main: True' default)" != 2 ]; then
    echo "changed: the processes know of one another"
    exit 1
fi
grep -q "accelerate says process 1 of 2, main: False" cpu

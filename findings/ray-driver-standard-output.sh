#!/usr/bin/env bash
# Ray writes to the driver's standard output although log_to_driver=False and the level is ERROR.
#
# A program that prints JSON on standard output starts Ray with log_to_driver=False, so that nothing
# of the workers reaches its own streams, and with logging_level=ERROR. All is quiet until a worker
# has to be replaced, which is what retries are for: then "(raylet) A worker died or was killed ..."
# stands in front of the JSON, colours included, and whoever reads it fails on the first character.
# It does not come through logging, nor from a worker's output: both are off.
#
# What to do: run what needs Ray with sys.stdout replaced (contextlib.redirect_stdout(sys.stderr)),
# and print the result afterwards.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cd "$folder"
cat > answer.py <<'PYTHON'
import contextlib
import json
import logging
import os
import sys
from pathlib import Path

import ray

there = sys.stderr if sys.argv[1] == "redirected" else sys.stdout
with contextlib.redirect_stdout(there):
    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        configure_logging=False, object_store_memory=80 << 20,
    )

    @ray.remote(max_retries=2)
    def square(number, mark):
        if not Path(mark).exists():  # the first attempt alone
            Path(mark).touch()
            os._exit(1)
        return number * number

    found = ray.get(square.remote(7, os.path.abspath(f"mark-{sys.argv[1]}")))
    ray.shutdown()
print(json.dumps({"square": found}))
PYTHON
for way in plain redirected; do
    venv/bin/python answer.py "$way" > "$way.out" 2> "$way.err"
done
venv/bin/python - <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

plain, redirected = (Path(f"{way}.out").read_text() for way in ("plain", "redirected"))
print("ray", version("ray"))
print("standard output, plain:     ", repr(plain[:70]))
print("standard output, redirected:", repr(redirected[:70]))
assert json.loads(redirected) == {"square": 49}
try:
    json.loads(plain)
except ValueError:
    sys.exit(0)
sys.exit("changed: nothing but the JSON is on standard output")
PYTHON

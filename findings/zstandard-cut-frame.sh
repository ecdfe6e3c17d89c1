#!/usr/bin/env bash
# A file of Zstandard that was cut short reads as a shorter file, without an error.
#
# gzip, bz2 and lzma of Python raise EOFError where a stream ends before its end mark. The stream
# reader of python-zstandard returns what it has, then b"" as at a true end: a corpus whose download
# broke off loses its last documents in silence, and a line may be cut in two. `decompress` of the
# same package, given the whole file at once, does raise.
#
# What to do: compare with the content size of the frame's header where that is known, or feed
# `decompressobj` and ask for its `eof` when the file is at its end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check zstandard==0.25.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import gzip
import io
import random

import zstandard

print("zstandard", zstandard.__version__)
words = random.Random(0)
lines = [f'{{"_id": "{n}", "text": "{words.random()}"}}\n'.encode() for n in range(50_000)]
corpus = b"".join(lines)

cut = zstandard.ZstdCompressor().compress(corpus)[:-1000]
reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(cut), read_across_frames=True)
found = io.BufferedReader(reader).readlines()
print(f"zstandard's reader: {len(found):,} of {len(lines):,} lines, no error; the last is {found[-1]!r}")

try:
    gzip.decompress(gzip.compress(corpus)[:-1000])
except EOFError as error:
    print("gzip:", error)
    gzip_says = True

try:
    zstandard.ZstdDecompressor().decompress(cut)
except zstandard.ZstdError as error:
    print("zstandard's decompress:", error)
    whole_says = True

pieces = zstandard.ZstdDecompressor().decompressobj()
pieces.decompress(cut)
print("decompressobj().eof:", pieces.eof)

assert 0 < len(found) < len(lines) and gzip_says and whole_says and not pieces.eof
PYTHON

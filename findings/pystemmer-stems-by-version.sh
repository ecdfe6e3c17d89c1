#!/usr/bin/env bash
# PyStemmer gives other English stems from one minor line to the next: an index outlives its stemmer.
#
# "english" names an algorithm, Porter2, that Snowball goes on improving. Words which met under one
# version no longer meet under another: what was indexed with 2.2 as "univers" is asked for with 3.1
# as "universiti". Nothing fails; such words just stop being found, until all texts are analysed
# again. A version bound such as PyStemmer>=2.2 in an application lets that happen at any update.
#
# What to do: record the version beside an index, and analyse again when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > stems.py <<'PYTHON'
import json
import sys

import Stemmer

words = sys.stdin.read().split()
print(json.dumps(dict(zip(words, Stemmer.Stemmer("english").stemWords(words)))))
PYTHON
for version in 2.2.0.3 3.1.0; do
    python3 -m venv "venv-$version"
    "venv-$version/bin/pip" install --quiet --disable-pip-version-check "PyStemmer==$version"
    "venv-$version/bin/python" stems.py > "$version.json" \
        <<< "university universities universe universal organization added adding owls running"
done
python3 - <<'PYTHON'
import json

old, new = (json.load(open(f"{version}.json")) for version in ("2.2.0.3", "3.1.0"))
changed = [word for word in old if old[word] != new[word]]
for word in old:
    print(f"{word:14} 2.2.0.3: {old[word]:12} 3.1.0: {new[word]:12}", "differs" if word in changed else "")
assert "university" in changed and "owls" not in changed
PYTHON

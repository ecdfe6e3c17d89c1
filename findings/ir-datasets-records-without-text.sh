#!/usr/bin/env bash
# ir_datasets gives its records a method `default_text` (documents and queries alike), which is how
# a program takes the text of any collection. Five kinds of record in its own registry have neither
# that method nor a field `text`, so that such a program fails on them with an AttributeError.
#
# Surprise: nothing in the registry or the record says so beforehand; each must be handled by hand.
# Nothing is downloaded: the kinds are read from the registry.
#
# Installs pinned packages into a temporary folder; exits with 1 if the behaviour has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet --disable-pip-version-check ir_datasets==0.6.3
HOME="$place" "$place/env/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import ir_datasets

kinds = {}
for name in list(ir_datasets.registry):
    dataset = ir_datasets.registry[name]
    if dataset.has_docs():
        kinds.setdefault(dataset.docs_cls(), name)
    if dataset.has_queries():
        kinds.setdefault(dataset.queries_cls(), name)
without = {kind: name for kind, name in kinds.items() if not {"default_text", "text"} & set(dir(kind))}
print("ir_datasets", version("ir_datasets"), "kinds of record:", len(kinds))
for kind, name in sorted(without.items(), key=lambda pair: pair[0].__name__):
    print(f"  {kind.__name__} of {name}: fields {', '.join(kind._fields)}")
expected = {
    "ArgsMeProcessedDoc", "ClinicalTrialsDoc", "CodeSearchNetDoc", "ToucheImageDoc",
    "TrecBackgroundLinkingQuery",
}
if {kind.__name__ for kind in without} != expected:
    sys.exit("changed: other kinds have no text")
PYTHON

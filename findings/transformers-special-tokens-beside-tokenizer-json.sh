#!/usr/bin/env bash
# From version 5 on transformers reads `add_bos_token` and `add_eos_token` without effect.
#
# tokenizer_config.json says by these two whether Llama's tokenizer puts <s> before a text and </s>
# behind it; embedding models that read the last token set add_eos_token to true. transformers 4.57
# does so, whatever stands in tokenizer.json. Version 5.23 takes the ids from tokenizer.json alone
# and says nothing, so a folder whose two files disagree gets other ids, and other vectors, after an
# update of the library. The remedy is a post-processor in tokenizer.json that adds the tokens.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cat > read.py <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models, normalizers
from transformers import AutoTokenizer

transformers.logging.set_verbosity_error()
pieces = ["<unk>", "<s>", "</s>", "▁", *"sievflour"]
backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>"))
backend.normalizer = normalizers.Sequence(
    [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
)
backend.add_special_tokens(["<unk>", "<s>", "</s>"])
seen = {}
for wanted in (False, True):
    folder = Path(f"{version('transformers')}-{wanted}")
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
        "unk_token": "<unk>", "add_bos_token": wanted, "add_eos_token": wanted,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    seen[wanted] = AutoTokenizer.from_pretrained(str(folder))("sieve")["input_ids"]
    print(f"transformers {version('transformers')}, both {wanted}: {seen[wanted]}")
added = seen[True] == [1, *seen[False], 2]
if added != (sys.argv[1] == "added") or (not added and seen[True] != seen[False]):
    sys.exit("changed")
PYTHON
for pair in 4.57.1:added 5.23.0:ignored; do
    python3 -m venv "venv-${pair%:*}"
    "venv-${pair%:*}/bin/pip" install --quiet --disable-pip-version-check "transformers==${pair%:*}" 2> >(grep -v ignored >&2 || true)
    HF_HUB_OFFLINE=1 "venv-${pair%:*}/bin/python" read.py "${pair#*:}" 2>&1 | grep -v "PyTorch\|was not found" 
done

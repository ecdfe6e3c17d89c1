"""Tiny random dense encoders in the format of sentence-transformers."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import tiny_checkpoints as tiny

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def write_dense(
    folder: Path,
    write: Callable[[Path], Path] = tiny.write_bert,
    *,
    normalize: bool = True,
    about: Mapping[str, Any] | None = None,
    pooling: Mapping[str, Any] | None = None,
    more: tuple[str, ...] = (),
) -> Path:
    """A body, pooling and perhaps normalisation.

    Args:
        folder: new.
        write: writes the body.
        normalize: whether a module makes vectors of length 1.
        about: what config_sentence_transformers.json says.
        pooling: what the pooling's config.json says, in place of the mean.
        more: further modules, without files.
    """
    write(folder)
    width = json.loads((folder / "config.json").read_text())
    stated = pooling or {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    size = width.get("hidden_size") or width["dim"]
    _json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": size, **stated})
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else []), *more]
    rows = [
        {
            "idx": at,
            "name": str(at),
            "path": "" if at == 0 else f"{at}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for at, kind in enumerate(kinds)
    ]
    _json(folder / "modules.json", rows)
    _json(folder / "sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": False})
    _json(folder / "config_sentence_transformers.json", dict(about or {}))
    return folder


def copied_with(folder: Path, source: Path, name: str, content: Any) -> Path:
    """A copy of a model with another file."""
    shutil.copytree(source, folder)
    _json(folder / name, content)
    return folder


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))

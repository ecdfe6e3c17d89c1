"""Where a model's folder lies: the bundled one, a path, or a name of the Hugging Face hub."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tamis.index.errors import FormatError, InputError

DEFAULT = "default"  # the name of the bundled encoder
BUNDLED = Path(__file__).parent.parent / "bundled" / "encoder"


def find_folder(name_or_path: str) -> Path:
    """The local folder of a model; a hub name is downloaded, safetensors and text files only."""
    if name_or_path == DEFAULT:
        return BUNDLED
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name_or_path):
        raise InputError(
            f"encoder {name_or_path!r}: expected 'default', a folder, or a hub name owner/model, "
            "found none of these; check the path"
        )
    return _download(name_or_path)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "*.txt", "README.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # one clear line for the hub's many ways to fail
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"encoder {name!r}: expected a folder or a model of the Hugging Face hub, found no "
            f"such folder and the hub gave none ({type(error).__name__}: {reason}); "
            "connect to the network, or give the path of a downloaded model"
        ) from error


def read_optional_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file.

    Raises:
        FormatError: the file is no JSON, or holds something else than an object.
    """
    return read_object(path) if path.exists() else {}


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FormatError: the file is missing, is no JSON, or holds something else than an object.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise FormatError(
            f"{path}: expected an object, found {type(found).__name__}; "
            "copy the file again from its source"
        )
    return found


def read_json(path: Path) -> Any:  # noqa: ANN401  JSON is anything
    """What a JSON file holds.

    Raises:
        FormatError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{path}: expected JSON, found none ({error}); copy the file again from its source"
        ) from error

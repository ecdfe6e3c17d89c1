"""Reads a dense encoder's folder as sentence-transformers writes it. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import xxhash

from tamis.index.errors import FormatError
from tamis.retriever.models.hugging_face_format import language_model
from tamis.retriever.models.inventory import DENSE_ENCODER, NORMALIZE, POOLING
from tamis.retriever.models.location import find_folder, read_object, read_optional_json
from tamis.retriever.models.sentence_transformers_format import ABOUT_FILE, prompts_of, read_modules
from tamis.retriever.models.sides import Architecture
from tamis.retriever.models.tensor_files import file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.sides import NeuralSide

Pooling = Literal["mean", "cls"]
MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
FILES = (".safetensors", ".json", ".txt", ".model")


@dataclass(frozen=True, slots=True)
class DenseFiles:
    """A dense encoder as its folder states it.

    Attributes:
        folder: where it lies.
        side: its language model, which has no vocabulary head, and its tokenizer.
        pooling: of the hidden states of a text's tokens.
        is_cosine: vectors are scaled to length 1.
        query_prompt: stands before every query.
        document_prompt: stands before every document.
    """

    folder: Path
    side: NeuralSide
    pooling: Pooling
    is_cosine: bool
    query_prompt: str
    document_prompt: str

    @property
    def fingerprint(self) -> str:
        """Of all files that may change a vector."""
        digest = xxhash.xxh3_64()
        for path in sorted(self.folder.rglob("*")):
            if path.suffix in FILES and path.is_file():
                digest.update(path.relative_to(self.folder).as_posix().encode())
                digest.update(file_digest(path))
        return digest.hexdigest()


def read_dense_encoder(name_or_path: str) -> DenseFiles:
    """The dense encoder of a folder or hub name.

    Raises:
        InputError: there is no such folder.
        FormatError: it is no dense encoder, or states what is not computed here.
    """
    folder = find_folder(name_or_path)
    if not (folder / "modules.json").is_file():
        raise FormatError(
            f"{folder}: expected a dense encoder with modules.json, found none; save it with "
            "sentence-transformers' save_pretrained"
        )
    modules = read_modules(folder)
    kinds = tuple(kind for kind, _ in modules)
    if kinds not in (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")):
        raise FormatError(
            f"{folder}: expected a dense encoder of Transformer, Pooling and perhaps Normalize, "
            f"found {', '.join(kinds)}; use a model without the others"
        )
    about = read_optional_json(folder / ABOUT_FILE)
    DENSE_ENCODER.check(about, folder / ABOUT_FILE)
    if len(modules) == 3:
        settings = modules[2][1] / "config.json"
        NORMALIZE.check(read_optional_json(settings), settings)
    prompts = prompts_of(about, folder / ABOUT_FILE)
    return DenseFiles(
        folder,
        language_model(modules[0][1], Architecture.HEADLESS),
        _pooling(modules[1][1] / "config.json"),
        len(modules) == 3 or (about.get("similarity_fn_name") or "cosine") == "cosine",
        prompts["query"],
        prompts["document"],
    )


def _pooling(path: Path) -> Pooling:
    stated: dict[str, Any] = read_object(path)
    POOLING.check(stated, path)
    named = [mode for key, mode in MODES.items() if stated.get(key)]
    mode = stated.get("pooling_mode") or (named[0] if len(named) == 1 else named)
    if mode == "mean":
        return "mean"
    if mode == "cls":
        return "cls"
    raise FormatError(
        f"{path}: expected one pooling, mean or cls, found {mode!r}; use a model of one of these"
    )

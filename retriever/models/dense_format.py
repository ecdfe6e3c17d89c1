"""Reads a dense encoder's folder as sentence-transformers writes it. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

from tamis.index.errors import FormatError
from tamis.retriever.models.embedding_format import read_embedding
from tamis.retriever.models.inventory import DENSE_ENCODER
from tamis.retriever.models.location import find_folder, read_optional_json
from tamis.retriever.models.sentence_transformers_format import ABOUT_FILE, prompts_of, read_modules
from tamis.retriever.models.tensor_files import file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.sides import NeuralSide, Pooling

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
    embedding = read_embedding(folder, read_modules(folder))
    about = read_optional_json(folder / ABOUT_FILE)
    DENSE_ENCODER.check(about, folder / ABOUT_FILE)
    prompts = prompts_of(about, folder / ABOUT_FILE)
    return DenseFiles(
        folder,
        embedding.side,
        embedding.pooling,
        embedding.scaled or (about.get("similarity_fn_name") or "cosine") == "cosine",
        prompts["query"],
        prompts["document"],
    )

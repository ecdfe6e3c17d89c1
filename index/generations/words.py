"""The words of a generation: the dictionary among its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tamis.index.files.array_file import map_array
from tamis.index.generations.draft import dictionary_part
from tamis.index.segment.dictionary import Dictionary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.generations.manifest import Manifest


def open_dictionary(
    storage: Storage, files: Mapping[str, FileEntry], known: Mapping[str, NDArray[Any]] = {}
) -> Dictionary | None:
    """The words of the lexical channel, but for ``known`` arrays; None where there is none."""
    arrays = {
        part: known[part] if part in known else map_array(storage, name, entry)
        for name, entry in files.items()
        if (part := dictionary_part(name)) is not None
    }
    return Dictionary.from_arrays(arrays) if arrays else None


def checked_dictionary(storage: Storage, manifest: Manifest) -> Dictionary | None:
    """The words of a generation; raises MismatchError where they are not those of its vectors."""
    dictionary = open_dictionary(storage, manifest.files)
    recorded = manifest.settings.lexical
    if dictionary is not None and recorded is not None:
        dictionary.check_prefix(recorded.words, recorded.fingerprint)
    return dictionary

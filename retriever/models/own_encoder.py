"""The encoder that an index was made with, found where it lies now: never another one.

An index remembers its encoder's name, fingerprint and place. A place may be named instead, as
folders move between machines; the fingerprint tells whether the same encoder lies there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tamis.index.collection import QUERY_SIDE
from tamis.index.errors import FormatError, InputError, MismatchError
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import read_current
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.encoder import load_encoder, load_query_encoder
from tamis.retriever.models.inference_free import TableQueryEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from tamis.index.collection import Collection
    from tamis.index.generations.settings import EncoderSettings
    from tamis.retriever.models.description import EncoderDescription
    from tamis.retriever.models.encoder import Encoder, QueryEncoder

    Found = TypeVar("Found", bound=QueryEncoder)


def own_query_encoder(
    collection: Collection, given: str | Path | QueryEncoder | None = None
) -> QueryEncoder | None:
    """The query side that a collection is searched with; None for one of words alone.

    Args:
        collection: keeps a copy of a query side that needs no model.
        given: the encoder, or another place of it; None takes the remembered one.

    Raises:
        InputError: there is no encoder, at the place that is given or remembered.
        MismatchError: another encoder is there, or the collection has none.
    """
    recorded = collection.settings.encoder
    if recorded is None or recorded.query_side == "neural":
        return _found(collection.path, recorded, given, load_query_encoder)
    if isinstance(given, str | Path):
        check_own(collection.path, recorded, read_checkpoint(str(given)).description, given)
    elif given is not None:
        check_own(collection.path, recorded, given.description)
    return TableQueryEncoder.load(collection.path / QUERY_SIDE)


def own_encoder(
    path: Path,
    recorded: EncoderSettings | None,
    given: str | Path | Encoder | None = None,
    device: str | None = None,
) -> Encoder | None:
    """The encoder of the documents of an index; None for one of words alone.

    Args:
        path: of the index.
        recorded: what it remembers.
        given: the encoder, or another place of it; None takes the remembered one.
        device: where its model runs, as for `load_encoder`.

    Raises:
        InputError: as `own_query_encoder`.
        MismatchError: as `own_query_encoder`.
    """
    return _found(path, recorded, given, lambda place: load_encoder(place, device=device))


def recorded_encoder(path: str | Path) -> EncoderSettings | None:
    """What the index in a folder remembers of its encoder; raises FormatError where none is."""
    return read_current(Storage(path)).settings.encoder


def places_by_fingerprint(places: Sequence[str]) -> dict[str, str]:
    """Where encoders lie, by their fingerprints; raises as `load_encoder`."""
    return {read_checkpoint(place).description.fingerprint: place for place in places}


def refuse_strangers(
    places: Mapping[str, str], remembered: Iterable[EncoderSettings | None]
) -> None:
    """Refuse (MismatchError) places, by fingerprint, of encoders that no index was made with."""
    known = {one.fingerprint: one for one in remembered if one is not None}
    for fingerprint, place in places.items():
        if fingerprint not in known:
            those = "; ".join(map(_remembered, known.values())) or _remembered(None)
            raise MismatchError(
                f"expected {those}; found {place} with fingerprint {fingerprint}; leave it out"
            )


def check_own(
    path: Path,
    recorded: EncoderSettings | None,
    found: EncoderDescription | None,
    place: str | Path = "",
) -> None:
    """Refuse (MismatchError) an encoder that is not the one an index was made with.

    Args:
        path: of the index.
        recorded: what it remembers; None where it has no encoder.
        found: what there is; None for no encoder.
        place: where that lies.
    """
    expected = recorded.fingerprint if recorded is not None else None
    there = found.fingerprint if found is not None else None
    if expected != there:
        name = place or (found.name if found is not None else "none")
        raise MismatchError(
            f"{path}: expected {_remembered(recorded)}, found {name}"
            f"{f' with fingerprint {there}' if there else ''}; name a place of the index's own "
            "encoder, or index the corpus again"
        )


def _found(
    path: Path,
    recorded: EncoderSettings | None,
    given: str | Path | Found | None,
    load: Callable[[str], Found],
) -> Found | None:
    if given is None:
        if recorded is None:
            return None
        encoder, place = _load_remembered(path, recorded, load), recorded.location
    elif isinstance(given, str | Path):
        encoder, place = load(str(given)), str(given)
    else:
        encoder, place = given, ""
    check_own(path, recorded, encoder.description, place)
    return encoder


def _load_remembered(path: Path, recorded: EncoderSettings, load: Callable[[str], Found]) -> Found:
    try:
        return load(recorded.location)
    except (InputError, FormatError) as error:
        raise InputError(
            f"{path}: expected {_remembered(recorded)}, found none there ({error}); name its "
            "present place with --encoder, in Python encoder="
        ) from error


def _remembered(recorded: EncoderSettings | None) -> str:
    if recorded is None:
        return "no encoder, as the index was made without one"
    return (
        f"the encoder that made the index, {recorded.name} with fingerprint "
        f"{recorded.fingerprint}, then at {recorded.location}"
    )

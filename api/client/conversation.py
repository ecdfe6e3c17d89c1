"""A conversation: sending, waiting and sending again, said once for both clients. Does no I/O.

It is a generator. It gives a request to send and is told the response, or the error in its place;
it gives a pause in seconds and is told None; it returns the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import msgspec

from tamis.api.client.errors import refused, unreachable, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tamis.api.client.errors import ServiceError
    from tamis.api.client.exchanges import Answer, Exchange
    from tamis.api.client.repeats import Repeats

Step = httpx.Request | float
Outcome = httpx.Response | httpx.TransportError | None


def conversation(
    exchange: Exchange[Answer], build: Callable[[Exchange[Answer]], httpx.Request], repeats: Repeats
) -> Generator[Step, Outcome, Answer]:
    """Carry an exchange out.

    Args:
        exchange: what is sent, and what comes back.
        build: makes the request of one.
        repeats: how often it is sent.

    Raises:
        ServiceError: it was refused, or not answered.
    """
    failures, is_lost = 0, False  # lost: an earlier request may have been carried out
    while True:
        outcome = yield build(exchange)
        if isinstance(outcome, httpx.Response):
            if outcome.is_success:
                return _read(outcome, exchange)
            if outcome.status_code == 404 and is_lost and exchange.gone is not None:
                return exchange.gone
            error = refused(outcome)
        else:
            assert outcome is not None
            error = unreachable(outcome)
            error.__cause__ = outcome
        failures += 1
        is_lost = is_lost or _may_be_done(error)
        pause_s = repeats.pause_s(failures, error)
        if pause_s is None:
            raise error
        yield pause_s


def _read(response: httpx.Response, exchange: Exchange[Answer]) -> Answer:
    try:
        return msgspec.json.decode(response.content, type=exchange.gives)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unreadable(response) from error


def _may_be_done(error: ServiceError) -> bool:
    """Whether a request may have been carried out all the same: no answer, or a proxy's."""
    return error.status in (None, 502, 504)

"""What running queries write on: one scratch a thread, whatever segments it searches.

A segment may live for a second, until the next commit; a scratch of its own would be made, and
left behind as holes of the heap, with every one of them.
"""

from __future__ import annotations

import threading

from tamis.index.segment.loops.arrays import Scratch, new_scratch

_of_thread = threading.local()


def own_scratch(documents: int, vocab_size: int) -> Scratch:
    """This thread's scratch, for segments of up to so many documents and terms.

    It is as large as the largest segment that the thread has searched needs, and an eighth more
    where it had to grow, since segments grow by little.
    """
    held: Scratch | None = getattr(_of_thread, "scratch", None)
    if held is not None:
        if held.docs.size >= documents and held.dense.size >= vocab_size:
            return held
        documents = max(held.docs.size, documents + documents // 8)
        vocab_size = max(held.dense.size, vocab_size + vocab_size // 8)
    scratch = _of_thread.scratch = new_scratch(documents, vocab_size)
    return scratch

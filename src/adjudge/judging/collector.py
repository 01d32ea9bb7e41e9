"""Python's garbage collector, kept from walking through the whole program while many judgments are in flight."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def rare_collections() -> Iterator[None]:
    """For a process that does nothing but judge: what is there already is left alone, and passes are rarer.

    A judgment lives for thousands of allocations, so with the default thresholds nearly everything in flight is looked
    at three times and every module again and again: an eighth to a fifth of a run's CPU time. Nothing is switched off:
    cycles are still found.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

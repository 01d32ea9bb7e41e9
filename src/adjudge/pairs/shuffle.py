"""Brings a stream of pairs into a drawn order without holding it in memory."""

import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec

from adjudge.types import Pair

_BUCKET_PAIRS = 4096
_MAX_BUCKETS = 256
_HEAD = struct.Struct("<QI")


def in_order(placed: Iterable[tuple[int, Pair]], count: int, folder: Path) -> Iterator[Pair]:
    """The pairs by rising place, a number of 64 bits evenly spread.

    They are dealt into files of about 4,096 pairs in a folder that lives as long as the iteration; one file at a time
    is then sorted in memory. count: about how many pairs come.
    """
    buckets = min(_MAX_BUCKETS, count // _BUCKET_PAIRS + 1)
    decoder = msgspec.json.Decoder(Pair)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mix-", dir=folder) as name:
        paths = [Path(name) / str(i) for i in range(buckets)]
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            for place, pair in placed:
                body = msgspec.json.encode(pair)
                files[place * buckets >> 64].write(_HEAD.pack(place, len(body)) + body)
        for path in paths:
            for _, body in sorted(_bodies(path.read_bytes()), key=lambda item: item[0]):
                yield decoder.decode(body)


def _bodies(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        place, length = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        yield place, data[position : position + length]
        position += length

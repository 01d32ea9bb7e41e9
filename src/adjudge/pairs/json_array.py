"""The elements of a JSON array, one at a time: only the element that is being read stands in memory."""

import re
from collections.abc import Iterable, Iterator

from adjudge import files
from adjudge.errors import DataError

# A whole string (possessive: no step back over millions of escapes), or one sign of structure.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)


def elements(lines: Iterable[tuple[int, bytes]], path: object) -> Iterator[tuple[int, bytes]]:
    """(line where it starts, text) of each element of the array that the lines hold.

    Raises DataError when an element is empty, nested too deeply or over the size of a line, when the array does not
    end, and when something follows it. Whether an element is JSON is left to who decodes it.

    >>> list(elements([(1, b'[{"a": "]"},'), (2, b'3]')], "x.json"))
    [(1, b'{"a": "]"}'), (2, b'3')]
    """
    depth = count = held = start = number = 0
    opened = ended = False
    parts: list[bytes] = []

    def bad(what: str, remedy: str = "mend or delete it") -> DataError:
        return DataError(what, path=path, line=number, remedy=remedy)

    for number, line in lines:
        if ended:
            raise bad("has text after the end of the JSON array")
        begin = 0
        for token in _TOKEN.finditer(line):
            sign = line[token.start() : token.start() + 1]
            if sign == b'"':
                continue
            depth += (sign in b"[{") - (sign in b"]}")
            if depth > files.MAX_DEPTH:
                raise bad(f"is nested over {files.MAX_DEPTH} deep")
            if not opened:
                opened, begin = True, token.end()
            elif depth == 0 or (depth == 1 and sign == b","):
                piece = line[begin : token.start()]
                start = start or (number if piece.strip() else 0)
                element = b"\n".join([*parts, piece]).strip()
                if not element and (sign == b"," or count):
                    raise bad("the JSON array has an empty element")
                if element:
                    count += 1
                    yield start, element
                parts, begin, held, start = [], token.end(), 0, 0
                if depth == 0 and line[begin:].strip():
                    raise bad("has text after the end of the JSON array")
                ended = depth == 0
        if not ended:
            piece = line[begin:]
            start = start or (number if piece.strip() else 0)
            parts.append(piece)
            held += len(piece)
            if held > files.MAX_LINE_BYTES:
                raise bad(f"an element of the JSON array is over {files.MAX_LINE_BYTES >> 20} MB", "split it")
    if not ended:
        raise bad("the JSON array does not end", "the file is cut short: fetch it again")

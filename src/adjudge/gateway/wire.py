"""uvicorn's connections, with bounds where it has none: how long a request's head may be, how long it may take, and how
long an answer is left unread.

httptools joins the pieces of a header without end, so the bytes of a head are counted before they reach it; so are
those of a body that hold none of it: trailers, which uvicorn would take for headers, and what chunks say of themselves.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 32 << 10
HEADERS = 100
HEAD_S = 10.0
STALL_S = 60.0  # who takes nothing of an answer for so long holds a place for nothing
LINGER_S = 1.0  # what still comes is thrown away for so long: hanging up at once would take the answer back
_WORDS = {408: b"the head of a request did not come in time", 431: b"the head of a request is too large"}
_REASONS = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class Guarded(HttpToolsProtocol):
    """One connection. `_head_bytes` is None while no head is being read."""

    _head_bytes: int | None = 0
    _timer: asyncio.TimerHandle | None = None
    _away = False
    _bodiless_bytes = 0  # since a piece of a body, or the beginning of a request
    _unread = 0
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._reads()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._away:
            return
        self._bodiless_bytes += len(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None:
            if self._head_bytes > HEAD_BYTES:
                self._turn_away(431)
        elif self._bodiless_bytes > HEAD_BYTES:
            self._abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        self._reads()
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._bodiless_bytes = 0
        super().on_message_begin()
        if self._timer is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_bytes is not None:  # else it is a trailer: the head was checked, and stays as it was
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_came()
        if len(self.headers) > HEADERS or sum(len(n) + len(v) for n, v in self.headers) > HEAD_BYTES:
            self._turn_away(431)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bodiless_bytes = 0
        if not self._away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._away:
            super().on_message_complete()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._timer = self.loop.call_later(HEAD_S, self._turn_away, 408)

    def _head_came(self) -> None:
        self._head_bytes = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_reader(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(STALL_S, self._look_at_reader)

    def _look_at_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._watch_reader()
        else:
            self._abort()

    def _reads(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _abort(self) -> None:
        """Hang up at once. Whoever answers here is told that the caller is gone."""
        self._away = True
        self.transport.abort()

    def _turn_away(self, status: int) -> None:
        """Say why and hang up; nothing, where nothing was asked."""
        asked = self._head_bytes != 0
        self._head_came()
        self._away = True
        transport: Any = self.transport
        if transport is None or transport.is_closing():
            return
        if asked:
            body = (
                b'{"error":{"message":"%s","type":"invalid_request_error","code":"head","param":null}}' % _WORDS[status]
            )
            head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n" % (status, _REASONS[status])
            transport.write(head + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            if transport.can_write_eof():
                transport.write_eof()
            self.loop.call_later(LINGER_S, transport.close)
        else:
            transport.close()

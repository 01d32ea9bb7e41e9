"""Chat completions as bytes: an Ask to the request, the response to a Reply. Pure; never trusts what a server says.

What is read: `message.content` (text, or a list of parts), `reasoning_content` or `reasoning` or parts of type
`thinking`, `refusal`, `finish_reason`, `logprobs.content`, `usage`. `<think>` inside the content is left to the
protocol's reader.

A usage is believed when prompt and output tokens are whole numbers of at most 1e9, the prompt's at least 1, the
output's at least 1 where there is text. Otherwise it is unknown (None), never 0. Cached or reasoning tokens that do not
fit inside the prompt or the output are dropped (0: no discount is claimed) and the totals are kept. Servers that leave
thinking out of `completion_tokens` (xAI, Gemini) have it in `total_tokens`: what the total holds beyond prompt and
output is output.
"""

import json
import re
from typing import Annotated, Any, NoReturn

import msgspec

from adjudge.errors import BackendError, BadReply, RateLimited, Rejected, Unavailable
from adjudge.types import Ask, Reply, TokenChance, Usage

MOST_TOKENS = 10**9
SHOWN_ERROR_CHARS = 300
_CHARSET = re.compile(r"charset=\"?([\w.:-]+)", re.I)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: _Tokens = 0
    reasoning_tokens: _Tokens = 0


class _Message(msgspec.Struct, gc=False):
    content: str
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: _Tokens
    completion_tokens: _Tokens
    total_tokens: _Tokens = 0
    prompt_cache_hit_tokens: _Tokens = 0
    cached_tokens: _Tokens = 0
    reasoning_tokens: _Tokens = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def read(self, message: _Message) -> Usage | None:
        cached = (self.prompt_tokens_details or self).cached_tokens or self.prompt_cache_hit_tokens
        reasoning = (self.completion_tokens_details or self).reasoning_tokens
        wrote = bool(message.content or message.reasoning_content or message.reasoning)
        return _believed(self.prompt_tokens, self.completion_tokens, self.total_tokens, cached, reasoning, wrote)


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class _Completion(msgspec.Struct, gc=False):
    """A completion as nearly all are: decoded and checked in one go."""

    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    usage: _Usage | None = None
    model: str | None = None


_plain_decoder = msgspec.json.Decoder(_Completion)


def request_body(ask: Ask) -> bytes:
    """The JSON to post. Raises Rejected when a text cannot be sent (lone surrogates)."""
    messages = [{"role": m.role, "content": m.content} for m in ask.messages]
    try:
        return _encoder.encode({**ask.body, "messages": messages})
    except UnicodeEncodeError:
        raise Rejected("the prompt holds half a surrogate pair, which is no text; mend the pair's text") from None


def read_reply(body: bytes, content_type: str = "") -> Reply:
    """The Reply in the body of a 200, read by what it holds and not by what its content type says.

    The content type is asked for a charset alone, and only where the body is not UTF-8; failing that, bytes that are
    not UTF-8 become U+FFFD, since the verdict and the usage around them were paid for. Raises BadReply, and for an
    error object in a 200 what its code says.
    """
    try:
        answer = _plain_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return read_oddity(body, content_type)
    choice = answer.choices[0]
    message = choice.message
    usage = None if answer.usage is None else answer.usage.read(message)
    return Reply(
        text=message.content,
        reasoning=message.reasoning_content or message.reasoning or "",
        finish_reason=choice.finish_reason or None,
        refusal=message.refusal or None,
        top_logprobs=_top_logprobs(choice.logprobs),
        usage=usage,
        unmetered_calls=0 if usage else 1,
        model=answer.model or None,
    )


def read_oddity(body: bytes, content_type: str) -> Reply:
    """What does not look as most servers write it, field by field."""
    answer = _decode(body, content_type)
    if not isinstance(answer, dict):
        _bad("not a JSON object", body)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        if answer.get("error"):
            raise refusal(_error_status(answer["error"]), body, maybe_billed=True)
        _bad("no choices in it", body)
    message = choices[0].get("message")
    if not isinstance(message, dict):
        _bad("no message in it", body)
    text, thinking = _texts(message.get("content"))
    reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or thinking
    usage = read_usage(answer.get("usage"), wrote=bool(text or reasoning))
    return Reply(
        text=text,
        reasoning=reasoning,
        finish_reason=_text(choices[0].get("finish_reason")) or None,
        refusal=_text(message.get("refusal")) or None,
        top_logprobs=_top_logprobs(choices[0].get("logprobs")),
        usage=usage,
        unmetered_calls=0 if usage else 1,
        model=_text(answer.get("model")) or None,
    )


def refusal(
    status: int, body: bytes, *, retry_after_s: float | None = None, maybe_billed: bool = False
) -> BackendError:
    """What an HTTP status other than 200 means.

    502 and 504 come from a proxy that lost sight of the model: the call may have been billed. A 500, 503 or 529 is the
    server's own word that it gave no completion, and providers do not bill those.
    """
    what = f"HTTP {status}: {error_text(body)}"
    if status == 429 and b"insufficient_quota" not in body:
        return RateLimited(what, retry_after_s=retry_after_s)
    if status in (408, 409, 425) or status >= 500:
        billed = maybe_billed or status in (502, 504)
        return Unavailable(what, retry_after_s=retry_after_s, maybe_billed=billed)
    return Rejected(what, always=status in (401, 402, 404, 429) or status < 400)


def error_text(body: bytes) -> str:
    """The message of an error body, on one line and not too long."""
    try:
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    found: object = answer
    for key in ("error", "message"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    text = found if isinstance(found, str) and found else body[: 4 * SHOWN_ERROR_CHARS].decode("utf-8", "replace")
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * SHOWN_ERROR_CHARS]).split())
    return (text if len(text) <= SHOWN_ERROR_CHARS else text[: SHOWN_ERROR_CHARS - 3] + "...") or "(empty)"


def read_usage(usage: object, *, wrote: bool = True) -> Usage | None:
    """The usage that a server reported, None when it cannot be true; `wrote`: whether any text came with it.

    >>> read_usage({"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 9}})
    Usage(prompt_tokens=10, output_tokens=4, cached_tokens=0, reasoning_tokens=0)
    >>> read_usage({"prompt_tokens": 10, "completion_tokens": -4}) is None
    True
    """
    if not isinstance(usage, dict):
        return None
    prompt, output = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None or output is None:
        return None
    total = _count(usage.get("total_tokens")) or 0
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    cached = (
        _detail(usage, "prompt_tokens_details", "cached_tokens") or _count(usage.get("prompt_cache_hit_tokens")) or 0
    )
    return _believed(prompt, output, total, cached, reasoning, wrote)


def _believed(prompt: int, output: int, total: int, cached: int, reasoning: int, wrote: bool) -> Usage | None:
    hidden = max(total - prompt - output, 0)
    output += hidden
    if not prompt or (wrote and not output):
        return None
    reasoning = reasoning or hidden
    return Usage(prompt, output, cached if cached <= prompt else 0, reasoning if reasoning <= output else 0)


def _decode(body: bytes, content_type: str) -> Any:
    try:
        return _decoder.decode(body)
    except RecursionError:
        raise BadReply("the reply's JSON is nested too deeply", maybe_billed=True) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    charset = _CHARSET.search(content_type)
    try:
        text = body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    try:
        return json.loads(text.lstrip("\ufeff"))  # takes the NaN and Infinity that some servers write, too
    except (ValueError, RecursionError):
        _bad("not JSON", body)


def _bad(why: str, body: bytes) -> NoReturn:
    raise BadReply(f"the reply is no chat completion ({why}): {error_text(body)}", maybe_billed=True)


def _error_status(error: object) -> int:
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(content: object) -> tuple[str, str]:
    """(text, thinking) of a message's content."""
    if isinstance(content, str):
        return content, ""
    text, thinking = "", ""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            text += _text(part.get("text"))
            inner = part.get("thinking")
            thinking += _text(inner) or (_texts(inner)[0] if isinstance(inner, list) else "")
    return text, thinking


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return _count(details.get(name) if isinstance(details, dict) else usage.get(name)) or 0


def _top_logprobs(logprobs: object) -> tuple[tuple[TokenChance, ...], ...]:
    """Per position: the token that was drawn, then the others that were candidates."""
    positions = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(positions, list):
        return ()
    return tuple(_candidates(p) for p in positions if isinstance(p, dict))


def _candidates(position: dict[str, Any]) -> tuple[TokenChance, ...]:
    others = position.get("top_logprobs")
    found: dict[str, TokenChance] = {}
    for entry in (position, *(others if isinstance(others, list) else ())):
        if isinstance(entry, dict):
            token, logprob = entry.get("token"), entry.get("logprob")
            if isinstance(token, str) and isinstance(logprob, (int, float)) and logprob == logprob:
                found.setdefault(token, TokenChance(token, float(logprob)))
    return tuple(found.values())

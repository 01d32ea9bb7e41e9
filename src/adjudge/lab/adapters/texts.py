"""What trainers call a prompt or a completion -> the text that a judge reads."""

from collections.abc import Iterable, Mapping
from typing import Any

Said = str | Iterable[Mapping[str, Any]]
"""A text, or messages of a conversation: {"role", "content"}, the content a text or parts of one."""


def text_of(said: Said) -> str:
    """The text of a prompt or completion; of a conversation of several messages, each under its role.

    >>> text_of([{"role": "user", "content": "Say hi."}])
    'Say hi.'
    >>> text_of([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Ho"}]}])
    'user: Hi\\n\\nassistant: Ho'
    """
    if isinstance(said, str):
        return said
    messages = [(str(message.get("role", "")), _content(message.get("content"))) for message in said]
    if len(messages) == 1:
        return messages[0][1]
    return "\n\n".join(f"{role}: {content}" for role, content in messages)


def _content(content: Any) -> str:
    """Parts that are no text (images) are named; the judge reads texts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) if part.get("type", "text") == "text" else f"[{part['type']}]" for part in content)

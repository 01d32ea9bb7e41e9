"""A key of the gateway: `adj_` + id + `_` + secret. The id is no secret: it names the key's account and stands in logs.

The secret is 256 random bits. What is kept is the SHA-256 of the whole key: slow hashes (bcrypt, argon2) make guessing
dear where people choose passwords, but nobody guesses 256 bits, and a slow hash on every request would cost more than
the judgment's own handling, and let anybody without a key keep the processor busy.
"""

import hashlib
import hmac
import secrets
from enum import StrEnum
from typing import NamedTuple

PREFIX = "adj"
ID_CHARS = 12


class Scope(StrEnum):
    JUDGE = "judge"  # judgments and chat completions
    REWARD = "reward"
    FEEDBACK = "feedback"
    ADMIN = "admin"  # the page, every account's figures


class Key(NamedTuple):
    """`id` is also its account in the ledger. `per_minute`: requests, None for any number. Times: ns since 1970."""

    id: str
    name: str
    scopes: frozenset[Scope]
    per_minute: float | None
    created_ns: int
    expires_ns: int | None = None
    revoked_ns: int | None = None

    def state(self, now_ns: int) -> str:
        """valid | expired | revoked"""
        if self.revoked_ns is not None:
            return "revoked"
        return "expired" if self.expires_ns is not None and now_ns >= self.expires_ns else "valid"


class Kept(NamedTuple):
    """A key and the hash by which it is known again."""

    key: Key
    secret_hash: str


def new_id() -> str:
    return secrets.token_hex(ID_CHARS // 2)


def new_presented(key_id: str) -> str:
    """What the key's holder presents; it is shown once and kept nowhere."""
    return f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"


def id_of(presented: str) -> str:
    """The id in what was presented, "" where it has none.

    >>> id_of("adj_0a1b2c3d4e5f_se_cret"), id_of("sk-something")
    ('0a1b2c3d4e5f', '')
    """
    prefix, _, rest = presented.partition("_")
    key_id, _, secret = rest.partition("_")
    return key_id if prefix == PREFIX and len(key_id) == ID_CHARS and secret else ""


def hashed(presented: str) -> str:
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()


_NOBODYS = hashed("")


def is_valid(presented: str, kept: Kept | None, now_ns: int) -> bool:
    """Whether it is that key, and the key counts. For an unknown id (None) as much is done as for a known one."""
    same = hmac.compare_digest(hashed(presented), _NOBODYS if kept is None else kept.secret_hash)
    return kept is not None and same and kept.key.state(now_ns) == "valid"

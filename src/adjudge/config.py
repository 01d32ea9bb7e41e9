"""arms.toml -> frozen values.

evaluator = "qwen3-4b"              # optional: the name that the records carry

[servers.local]
kind = "openai"                     # openai | embedded | replay
url = "http://127.0.0.1:8000/v1"
api_key_env = "LOCAL_API_KEY"       # the variable that holds the key; never the key itself

[arms.plain]
server = "local"
model = "Qwen/Qwen3-4B"
mode = "instruct"

[arms.think]
like = "plain"                      # start from another arm
mode = "reasoning"
max_tokens = 8192
"""

import difflib
import functools
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from adjudge.errors import ConfigError
from adjudge.types import Price, digest

Mode = Literal["instruct", "reasoning"]
Protocol = Literal["pairwise", "pairwise5", "pointwise", "rubric", "self-routing", "route"]
Orders = Literal["ab", "ba", "both"]
Switch = Literal["none", "effort", "template", "prompt"]

BUILTIN_PROMPT = "default"
T = TypeVar("T", bound=msgspec.Struct)


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an arm's model is asked, and how hard it may be pressed.

    kind: `openai` (any OpenAI-compatible HTTP server at `url`), `embedded` (a llama.cpp model in this process, `path`
    a GGUF file, PACKAGE:FILE for one in an installed package, or empty for SmolLM2), `replay` (recorded judgments at
    `path`). `requests_per_minute` and `tokens_per_minute` are upper bounds, 0 for none; 429 answers lower them for a
    while. `deadline_s` bounds one attempt, from the first byte sent to the last byte read. `retries` counts attempts
    after the first. An embedded model answers `slots` questions at a time, each of at most `context` tokens with its
    answer.
    """

    kind: Literal["openai", "embedded", "replay"] = "openai"
    url: str = ""
    path: str = ""
    api_key_env: str = ""
    concurrency: int = 64
    requests_per_minute: float = 0
    tokens_per_minute: float = 0
    deadline_s: float = 120.0
    retries: int = 5
    max_reply_mb: float = 16.0
    slots: int = 4
    context: int = 4096


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Request fields that shape the draw; what is None is left to the server."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to get a verdict.

    switch: how reasoning is turned on or off. `effort` sends `reasoning_effort` (`effort`, or "none" in instruct mode),
    `template` sends `chat_template_kwargs.enable_thinking`, `prompt` only words the question accordingly, `none` sends
    nothing. Left out: `effort` when `effort` is given, else `prompt`.
    prompt: "default" or the path of a Jinja file. rubric: "" (none), "item" (the pair's own), "arm:NAME" (written first
    by that rubric arm) or the path of a text file. samples: draws per order. scale: lowest and highest rating of a
    pointwise arm. logprobs: read verdict or score probabilities from the answer's token. choices (self-routing): the
    arm to use when no reasoning is needed, and the one when it is. repair: ask once more when a verdict cannot be read.
    For a judge that was trained on a form of its own (a `prompt` that writes that form): fences = false shows the texts
    without the marks around them, answer_after is what it writes between its reasoning and its answer ("[RESULT]").
    protocol `route` is a fitted router's, which buys verdicts of its `choices`; no arms.toml holds one.
    """

    name: str = ""
    server: str = ""
    model: str = ""
    mode: Mode = "instruct"
    effort: str = ""
    switch: Switch | None = None
    protocol: Protocol = "pairwise"
    prompt: str = BUILTIN_PROMPT
    rubric: str = ""
    samples: int = 1
    orders: Orders = "both"
    scale: tuple[int, int] = (0, 9)
    logprobs: bool = False
    repair: bool = True
    fences: bool = True
    answer_after: str = ""
    choices: tuple[str, ...] | None = None
    sampling: Sampling = Sampling()
    max_tokens: int = 0
    price: Price | None = None
    extra: dict[str, Any] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A whole arms.toml. `prompts` and `rubrics` hold the texts of the files that arms name, by path as written."""

    evaluator: str
    servers: dict[str, Server]
    arms: dict[str, Arm]
    texts: dict[str, str] = {}

    def arm_key(self, name: str) -> str:
        """32 hex digits that change with everything about the arm that may change its answers.

        Prices, limits and the arm's name do not count; the server counts by its name, so that the same server may move
        to another address without its judgments being bought again. What an embedded or replay server reads does count:
        its path, and for a replay the evaluator and the recorded arm too.
        """
        arm = self.arms[name]
        counted = [n for n in arm.__struct_fields__ if n not in ("name", "price", "choices", "rubric")]
        deep: list[object] = [(n, getattr(arm, n)) for n in counted if n not in _LATER or getattr(arm, n) != _LATER[n]]
        deep += [_builtin_prompts(), self.texts.get(arm.prompt), self.texts.get(arm.rubric)]
        if arm.rubric.startswith("arm:"):
            deep.append(self.arm_key(arm.rubric[4:]))
        else:
            deep.append(arm.rubric)
        deep += [self.arm_key(c) for c in arm.choices or ()]
        server = self.servers[arm.server]
        if server.kind != "openai":
            deep.append((server.kind, server.path))
        if server.kind == "replay":
            deep.append((self.evaluator, arm.model or name))
        return digest(*deep)

    def api_key(self, server: str, environ: Mapping[str, str] = os.environ) -> str:
        """The key from the variable that the server names, "" when it names none.

        Raises ConfigError when the variable is not set.
        """
        variable = self.servers[server].api_key_env
        if not variable:
            return ""
        if not environ.get(variable):
            raise ConfigError(f"servers.{server}: the environment variable {variable} is not set; set it to the key")
        return environ[variable]

    def choose(self, names: Iterable[str]) -> list[Arm]:
        """The arms of these names, "all" for every arm but those that only write rubrics.

        Raises ConfigError with the nearest known name.
        """
        chosen: dict[str, Arm] = {}
        for name in names:
            if name == "all":
                chosen.update({n: a for n, a in self.arms.items() if a.protocol != "rubric"})
            elif name not in self.arms:
                raise ConfigError(f"no arm {name!r}{_nearest(name, self.arms)}")
            else:
                chosen[name] = self.arms[name]
        return list(chosen.values())


_LATER = {"fences": True, "answer_after": ""}  # younger than stores in use: at these values arms keep their keys
_KEY_LIKE = re.compile(r"^(sk|pk|key|Bearer)[-_ ][\w-]{12,}")


@functools.cache
def _builtin_prompts() -> str:
    """A digest of the templates that ship with the program: any arm's prompt may stand on them."""
    folder = resources.files("adjudge").joinpath("judging/prompts")
    return digest(*sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir()))


def load(path: str | Path) -> Settings:
    """Read and check an arms.toml. Raises ConfigError: file, key, the remedy."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; write one (see `adjudge arms --example`)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from None
    return from_dict(data, path)


def from_dict(data: dict[str, Any], path: Path = Path("arms.toml")) -> Settings:
    """Settings from the parsed TOML; `path` is named in errors and is where relative files are looked up."""
    for key in data:
        if key not in ("evaluator", "servers", "arms"):
            raise ConfigError(f"{path}: unknown key {key!r}{_nearest(key, ('evaluator', 'servers', 'arms'))}")
    servers = {n: _convert(v, Server, path, f"servers.{n}") for n, v in _table(data, "servers", path).items()}
    raw_arms = _table(data, "arms", path)
    if not raw_arms:
        raise ConfigError(f"{path}: names no arm; add an [arms.NAME] table")
    arms: dict[str, Arm] = {}
    for name in raw_arms:
        arms[name] = _convert({**_inherit(raw_arms, name, path, ()), "name": name}, Arm, path, f"arms.{name}")
    texts: dict[str, str] = {}
    for server_name, server in servers.items():
        _check_server(server_name, server, path)
    for arm in arms.values():
        _check_arm(arm, arms, servers, path)
        for file in (arm.prompt if arm.prompt != BUILTIN_PROMPT else "", arm.rubric):
            if file and file != "item" and not file.startswith("arm:"):
                texts[file] = _read_text(path, file, arm.name)
    models = {a.model for a in arms.values() if a.model}
    evaluator = data.get("evaluator") or (models.pop() if len(models) == 1 else path.stem)
    if not isinstance(evaluator, str):
        raise ConfigError(f"{path}: evaluator must be a string, not {evaluator!r}")
    return Settings(evaluator=evaluator, servers=servers, arms=arms, texts=texts)


def _table(data: dict[str, Any], key: str, path: Path) -> dict[str, dict[str, Any]]:
    table = data.get(key, {})
    if not isinstance(table, dict) or not all(isinstance(v, dict) for v in table.values()):
        raise ConfigError(f"{path}: {key} must be made of tables; write [{key}.NAME]")
    return table


def _inherit(raw: dict[str, dict[str, Any]], name: str, path: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    own = dict(raw[name])
    parent = own.pop("like", None)
    if parent is None:
        return own
    if parent not in raw:
        raise ConfigError(f"{path}: arms.{name}: like = {parent!r} names no arm{_nearest(str(parent), raw)}")
    if parent in (name, *seen):
        raise ConfigError(f"{path}: arms.{name}: `like` goes in a circle")
    return {**_inherit(raw, parent, path, (*seen, name)), **own}


def _convert(value: dict[str, Any], kind: type[T], path: Path, where: str) -> T:
    fields = set(kind.__struct_fields__) - {"name"}
    for key in value:
        if key in ("key", "api_key", "token", "secret"):
            raise ConfigError(
                f"{path}: {where}.{key}: keys do not belong in this file; name the variable that holds it: api_key_env"
            )
        if key != "name" and key not in fields:
            raise ConfigError(f"{path}: {where}: unknown key {key!r}{_nearest(key, fields)}")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {where}: {str(error).replace('`$', '`').replace('`.', '`')}") from None


def _check_server(name: str, server: Server, path: Path) -> None:
    where = f"{path}: servers.{name}"
    if server.kind == "openai" and not re.match(r"https?://\S+$", server.url):
        raise ConfigError(f"{where}: url {server.url!r} is no http(s) address; give the server's base, .../v1")
    if server.kind == "replay" and not server.path:
        raise ConfigError(f"{where}: a replay needs `path`, the records to replay")
    if _KEY_LIKE.match(server.api_key_env):
        raise ConfigError(f"{where}: api_key_env holds what looks like a key; name the variable that holds it")
    for field, low in (("concurrency", 1), ("slots", 1), ("context", 256), ("retries", 0)):
        if getattr(server, field) < low:
            raise ConfigError(f"{where}: {field} must be at least {low}, not {getattr(server, field)}")
    for field in ("deadline_s", "max_reply_mb"):
        if getattr(server, field) <= 0:
            raise ConfigError(f"{where}: {field} must be above 0, not {getattr(server, field)}")
    for field in ("requests_per_minute", "tokens_per_minute"):
        if getattr(server, field) < 0:
            raise ConfigError(f"{where}: {field} must be 0 (no limit) or more, not {getattr(server, field)}")


def _check_arm(arm: Arm, arms: dict[str, Arm], servers: dict[str, Server], path: Path) -> None:
    where = f"{path}: arms.{arm.name}"
    if ":" in arm.name or "," in arm.name or arm.name == "all":
        raise ConfigError(f"{where}: an arm's name may hold no ':' or ',' and may not be 'all'")
    if arm.protocol == "route":
        raise ConfigError(f"{where}: a router is no arm of this file; fit one and judge with --arm route:DIR")
    if arm.protocol == "self-routing":
        if arm.choices is None or len(arm.choices) != 2:
            raise ConfigError(f"{where}: self-routing needs choices = [INSTRUCT_ARM, REASONING_ARM]")
        for choice in arm.choices:
            if choice not in arms:
                raise ConfigError(f"{where}: choices name no arm {choice!r}{_nearest(choice, arms)}")
            if arms[choice].protocol in ("self-routing", "rubric"):
                raise ConfigError(f"{where}: {choice!r} gives no verdict of its own and cannot be a choice")
    elif arm.choices is not None:
        raise ConfigError(f'{where}: choices belong to protocol = "self-routing"')
    if arm.server not in servers:
        raise ConfigError(f"{where}: no server {arm.server!r}{_nearest(arm.server, servers)}; add [servers.NAME]")
    if servers[arm.server].kind == "openai" and not arm.model:
        raise ConfigError(f"{where}: model is missing; give the name that the server knows it by")
    if arm.samples < 1 or arm.max_tokens < 0:
        raise ConfigError(f"{where}: samples must be at least 1 and max_tokens at least 0 (0: the server's own)")
    if not 0 <= arm.scale[0] < arm.scale[1] <= 100:
        raise ConfigError(f"{where}: scale {list(arm.scale)} must be two whole numbers, 0 <= low < high <= 100")
    if arm.rubric.startswith("arm:"):
        writer = arms.get(arm.rubric[4:])
        if writer is None or writer.protocol != "rubric":
            raise ConfigError(f'{where}: rubric = {arm.rubric!r} names no arm with protocol = "rubric"')
    if not arm.fences and arm.prompt == BUILTIN_PROMPT:
        raise ConfigError(f"{where}: fences = false is for a prompt of your own, which shows the texts in its own form")
    if arm.protocol == "rubric" and arm.rubric:
        raise ConfigError(f"{where}: a rubric arm writes rubrics and takes none")
    if arm.price and min(arm.price.input, arm.price.output, arm.price.cached_input or 0) < 0:
        raise ConfigError(f"{where}: prices must be 0 or more, in US dollars per million tokens")


def _read_text(path: Path, file: str, arm: str) -> str:
    try:
        return (path.parent / file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: arms.{arm}: cannot read {file!r}: {error}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""

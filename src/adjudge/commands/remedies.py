"""What to do about errors of model servers, in terms of arms.toml: which key, variable or address to look at."""

import re
from collections.abc import Iterator

from adjudge.config import Arm, Server, Settings
from adjudge.judging.progress import Summary
from adjudge.types import Outcome

MANY = 0.5
"""The share of a run's judgments without a verdict of one kind from which on it is the arm's fault, not the pairs'."""

_STATUS = re.compile(r"\bHTTP (\d{3})\b")


def remedies(summary: Summary, settings: Settings) -> list[str]:
    """What to do first about the servers that were given up, the most common error, and what is mostly no verdict."""
    found = [_of_server(why, name, settings, _asking(name, settings)) for name, why in summary.given_up.items()]
    if not found and summary.failures:
        worst = summary.failures[0]
        arms = [settings.arms[name] for name in worst.arms]
        found = [_of_server(worst.error, arms[0].server, settings, arms)]
    return [line for line in (*found, *_of_outcomes(summary)) if line]


def _of_outcomes(summary: Summary) -> Iterator[str]:
    answered = summary.bought - summary.failed
    if answered and summary.outcomes.get(Outcome.TRUNCATED, 0) >= MANY * answered:
        yield "Most answers were cut off: raise max_tokens of the arms, thinking counts inside it"
    if answered and summary.outcomes.get(Outcome.UNREAD, 0) >= MANY * answered:
        yield "Most answers hold no verdict: read some of them with `adjudge report`, then try another prompt or model"


def _of_server(error: str, name: str, settings: Settings, arms: list[Arm]) -> str:
    server = settings.servers[name]
    if server.kind != "openai":
        return ""  # what these say names its remedy
    status = _STATUS.search(error)
    return _of_status(int(status[1]), error, name, server, arms) if status else _of_words(error, name, server)


def _asking(server: str, settings: Settings) -> list[Arm]:
    return [arm for arm in settings.arms.values() if arm.server == server]


def _of_status(status: int, error: str, name: str, server: Server, arms: list[Arm]) -> str:
    models = ", ".join(dict.fromkeys(f'"{arm.model}"' for arm in arms if arm.model))
    key = f"the key in {server.api_key_env}" if server.api_key_env else "the account"
    match status:
        case 401 if server.api_key_env:
            return f"The server does not take the key: check what the variable {server.api_key_env} holds"
        case 401:
            return f"The server wants a key: name the variable that holds it, api_key_env in [servers.{name}]"
        case 402:
            return f"The server wants to be paid: {key} has no credit left"
        case 403:
            return f"The server does not allow it: check whether {key} may use the model {models}"
        case 404 | 405:
            return (
                f"Check the address, url = {server.url!r} in [servers.{name}] (mostly it ends in /v1), and the model, "
                f"{models}: the server has no such page or no such model"
            )
        case 413:
            return "The question is too long for the server: leave the longest pairs out, or judge with another model"
        case 429 if "quota" in error:
            return f"The server wants to be paid: {key} has no quota left"
        case 429:
            return f"The server is asked too fast: lower requests_per_minute or concurrency in [servers.{name}]"
        case 400 | 422 if re.search(r"context|too long|maximum.*tokens", error, re.I):
            return "The question and max_tokens do not fit into the model's context: lower max_tokens, or serve more"
        case 400 | 422:
            named = ", ".join(f"[arms.{arm.name}]" for arm in arms)
            return f"The server does not take what is sent: check model, switch, sampling and extra in {named}"
    return f"The server fails at its own work: look at its log, at {server.url}" if status >= 500 else ""


def _of_words(error: str, name: str, server: Server) -> str:
    if "no connection to" in error:
        return f"Is the server running at {server.url}? Start it, or mend url in [servers.{name}]"
    if "deadline_s" in error:
        return f"The server is too slow: lower concurrency or raise deadline_s in [servers.{name}]"
    if "no chat completion" in error:
        return f"What answers at {server.url} is not an OpenAI-compatible server, or not always: check url and its log"
    if "connection lost" in error:
        return f"The server hangs up: look at its log, or lower concurrency in [servers.{name}]"
    return ""

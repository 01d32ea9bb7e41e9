"""How long do a million pairs take to read and check, to convert and to mix, and how much memory do they hold?

    python -m bench.pairs_memory [--pairs 1000000]

Writes made-up pairs of about 1 kB into a temporary folder (plain JSON Lines, deleted afterwards) and runs each command
in a process of its own, start and imports included: `pairs check` of the plain file, `pairs convert` to Parquet, `pairs
check` of that Parquet file, and `pairs mix` of the plain file with a quarter math and a quarter code, half of the
pairs in all. One JSON object: per command the seconds of wall and of processor time and the peak resident memory in MB
(of 10^6 bytes).
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOMAINS = ("set/math", "set/code", "set/chat", "set/facts", "set/safety")
WORDS = ["the", "response", "answers", "question", "better", "because", "which", "instruction", "detail", "follows"]


def made_up(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of pairs: a prompt of about 200 characters, two responses of about 350."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=45)) for _ in range(200)]
    for i in range(count):
        yield {
            "id": f"made-up/{i:012d}",
            "prompt": draw.choice(texts)[:200],
            "response_a": draw.choice(texts),
            "response_b": draw.choice(texts),
            "gold": draw.choice("AB"),
            "domain": draw.choice(DOMAINS),
            "source": "bench/made-up",
        }


def measured(*command: str) -> dict[str, float]:
    """What `adjudge COMMAND` takes in a process of its own. Raises RuntimeError when it fails."""
    began = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        arguments = [sys.executable, "-m", "adjudge", *command]
        child = os.posix_spawn(
            sys.executable, arguments, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        )
        _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"adjudge {' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    kilobytes = usage.ru_maxrss if sys.platform == "linux" else usage.ru_maxrss / 1024
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(kilobytes * 1024 / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    count = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as name:
        plain, parquet, mixed = (str(Path(name) / file) for file in ("plain.jsonl", "pairs.parquet", "mixed.jsonl"))
        with open(plain, "wb") as file:
            file.writelines(json.dumps(row).encode() + b"\n" for row in made_up(count))
        shares = ("--share", "math=0.25", "--share", "code=0.25")
        result = {
            "pairs": count,
            "mean_bytes": round(Path(plain).stat().st_size / count),
            "check": measured("pairs", "check", plain),
            "convert_to_parquet": measured("pairs", "convert", plain, "--out", parquet),
            "check_parquet": measured("pairs", "check", parquet),
            "mix": measured("pairs", "mix", plain, "--out", mixed, "--total", str(count // 2), *shares),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

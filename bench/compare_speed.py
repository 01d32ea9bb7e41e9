"""How long does `adjudge compare` take on 100,000 records?

    python -m bench.compare_speed [--records 100000] [--rounds 5]

Writes made-up records into a temporary folder (two arms, both orders, ten domains, completions of about 300 characters,
all texts present: about 3.4 kB a record), then times the whole command in a fresh process, start and imports included,
from plain JSON Lines, from gzip and from Parquet. The yardstick in the same rounds is a bare loop that decodes the JSON
of the same plain file into untyped values and drops them. One JSON object: per command the median, smallest and largest
wall time and processor time, in seconds; on a machine that others use, the processor time is the steadier one.
"""

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from adjudge import records
from adjudge.types import Judgment, Outcome, Pair, Record

NAMES = ("arithmetic", "chat", "code", "facts", "focus", "math", "safety", "science", "style", "writing")
DOMAINS = [f"set/{name}" for name in NAMES]
WORDS = ["the", "response", "answers", "question", "better", "because", "which", "instruction", "detail", "follows"]
BARE_LOOP = "import msgspec,sys\nfor line in open(sys.argv[1],'rb'): msgspec.json.decode(line)"


def made_up(count: int, seed: int = 0) -> Iterator[Record]:
    """Records of a cheap arm right two times in three and a dear one right three times in four."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=n)) for n in [50] * 200 + [60] * 200]

    def arm(name: str, gold: str, chance: float, tokens: int) -> Judgment:
        other = "B" if gold == "A" else "A"
        ab, ba = (Outcome(gold if draw.random() < chance else other) for _ in "12")
        return Judgment(
            arm=name,
            ab=ab if draw.random() > 0.01 else Outcome.UNREAD,
            ba=ba,
            prompt_tokens=draw.randrange(300, 900),
            output_tokens=draw.randrange(tokens // 2, 2 * tokens),
            completion_ab=draw.choice(texts),
            completion_ba=draw.choice(texts),
        )

    for i in range(count):
        gold = draw.choice(("A", "B"))
        pair = Pair(
            id=f"made/{i}",
            domain=draw.choice(DOMAINS),
            source="bench/made-up",
            prompt=draw.choice(texts),
            response_a=draw.choice(texts),
            response_b=draw.choice(texts),
            gold="A" if gold == "A" else "B",
        )
        arms = {"plain": arm("plain", gold, 0.66, 4), "think": arm("think", gold, 0.75, 300)}
        yield Record(pair=pair, evaluator="bench", judgments=arms)


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one run."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode} of {command}")
    return wall, used.ru_utime + used.ru_stime


def spread(values: list[float]) -> dict[str, float]:
    found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: round(value, 2) for name, value in found.items()}


def measure(count: int, rounds: int) -> dict[str, object]:
    compare = [sys.executable, "-m", "adjudge", "compare", "--arms", "plain,think"]
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: Path(folder) / f"records.{kind}" for kind in ("jsonl", "jsonl.gz", "parquet")}
        for path in files.values():
            records.write(path, made_up(count))
        commands = {"bare JSON loop": [sys.executable, "-c", BARE_LOOP, str(files["jsonl"])]}
        commands |= {f"compare {kind}": [*compare, str(path)] for kind, path in files.items()}
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _, (name, command) in itertools.product(range(rounds), commands.items()):
            runs[name].append(timed(command))
        sizes = {kind: round(path.stat().st_size / 1e6, 1) for kind, path in files.items()}
    ratios = [a / b for (_, a), (_, b) in zip(runs["compare jsonl"], runs["bare JSON loop"], strict=True)]
    return {
        "records": count,
        "megabytes": sizes,
        "wall_s": {name: spread([wall for wall, _ in times]) for name, times in runs.items()},
        "processor_s": {name: spread([used for _, used in times]) for name, times in runs.items()},
        "processor_ratio_to_bare_loop": spread(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(measure(options.records, options.rounds), indent=1))


if __name__ == "__main__":
    main()

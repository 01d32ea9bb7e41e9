"""How fast is a store that holds a million judgments, and how much memory do imports and exports hold?

    python -m bench.store_speed [--judgments 1000000] [--batches 100]

Imports made-up records (two arms, about 1 kB of text each) with `adjudge import` and exports them with `adjudge
export`, each in a process of its own, so that the store holds the judgments. Then, in this process: batches of claims
(500 keys) that are new, puts of what was claimed (200 judgments with one call each), and claims of what is done.
Everything happens in a temporary folder, deleted afterwards. One JSON object: seconds and peak memory of the two
commands, the size of the store, and the median and 90th percentile of the batches in milliseconds, of wall and of
processor time.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adjudge import records
from adjudge.store.store import Bought, Claim, Store, Wanted
from adjudge.types import Call, Judgment, Outcome, Pair, Record, Usage, digest

from .pairs_memory import made_up, measured

ARMS = {"arm-plain": ("plain", "{}"), "arm-think": ("think", "{}")}
CLAIMED, WRITTEN = 500, 200


def made_records(count: int) -> Iterator[Record]:
    """Records with two judgments each."""
    draw = random.Random(1)
    for row in made_up(count):
        judgments = {
            arm: Judgment(
                arm=arm,
                ab=draw.choice((Outcome.A, Outcome.B, Outcome.TIE)),
                ba=draw.choice((Outcome.A, Outcome.B, Outcome.TRUNCATED)),
                prompt_tokens=300,
                output_tokens=draw.randint(1, 400) / 2,
                completion_ab=f"so [[{draw.random()}]]",
                completion_ba=row["response_b"],
            )
            for arm in ("plain", "think")
        }
        yield Record(pair=Pair(**row), evaluator="bench", judgments=judgments)


def bought(pair: Pair) -> Bought:
    key = pair.content_key()
    call = Call(
        kind="verdict",
        arm="plain",
        order="ab",
        outcome=Outcome.A,
        text=pair.response_b or "",
        finish_reason="stop",
        usage=Usage(300, 90),
        cost_usd=0.00042,
        latency_s=0.71,
        model="a-model",
    )
    judgment = Judgment(
        arm="plain",
        ab=Outcome.A,
        prompt_tokens=300,
        output_tokens=90,
        cost_usd=0.00042,
        completion_ab=call.text,
        calls=(call,),
    )
    return Bought(Wanted(digest(key, "arm-plain"), key, "arm-plain", "plain"), pair, judgment)


def timed(times: list[tuple[float, float]], work: Callable[..., Any], *args: Any) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work(*args)
    times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return answer


def summary(times: list[tuple[float, float]]) -> dict[str, float]:
    """Milliseconds."""
    wall, cpu = ([1000 * t for t in column] for column in zip(*times, strict=True))
    return {
        "wall_ms": round(statistics.median(wall), 1),
        "wall_ms_p90": round(statistics.quantiles(wall, n=10)[-1], 1),
        "cpu_ms": round(statistics.median(cpu), 1),
    }


def live(url: str, batches: int) -> dict[str, dict[str, float]]:
    """A run of judging over other pairs than those that are there, batch by batch."""
    rows = made_up(batches * CLAIMED, seed=2)
    claims: list[tuple[float, float]] = []
    puts: list[tuple[float, float]] = []
    done: list[tuple[float, float]] = []
    with Store.open(url) as store:
        run = store.begin_run("bench live", ARMS).id
        for _ in range(batches):
            batch = [bought(Pair(**next(rows))) for _ in range(CLAIMED)]
            wanted = [b.wanted for b in batch]
            assert set(timed(claims, store.claim, run, wanted)) == {Claim.MINE}
            for start in range(0, CLAIMED - WRITTEN + 1, WRITTEN):
                timed(puts, store.put, run, batch[start : start + WRITTEN])
            store.put(run, batch[CLAIMED // WRITTEN * WRITTEN :])
            assert set(timed(done, store.claim, run, wanted)) == {Claim.DONE}
        store.end_run(run)
    return {
        f"claim_{CLAIMED}": summary(claims),
        f"put_{WRITTEN}": summary(puts),
        f"claim_{CLAIMED}_done": summary(done),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgments", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, store, out = (str(Path(folder, name)) for name in ("r.jsonl", "s.db", "o.jsonl"))
        records.write(file, made_records(args.judgments // 2))
        result: dict[str, Any] = {"judgments": args.judgments, "file_mb": Path(file).stat().st_size // 10**6}
        result["import"] = measured("import", file, "--store", store)
        result["store_mb"] = Path(store).stat().st_size // 10**6
        result["export"] = measured("export", out, "--store", store)
        result["came_back_equal"] = Path(file).read_bytes() == Path(out).read_bytes()
        result |= live(store, args.batches)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

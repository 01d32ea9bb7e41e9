"""How often the scanner flags recorded attacks and recorded honest responses: `python -m bench.scan_rates`.

Reads the shared data in place. Responses count once each (a constant attack is one text, however often it was used).
"Honest" is whatever was not written to game a judge, right or wrong. Shares have Wilson's 95 % interval.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from adjudge.metrics import wilson
from adjudge.redteam.scan import stream

DATA = Path(__file__).parents[2] / "shared" / "data"


class Reply(NamedTuple):
    id: str
    prompt: str
    response: str
    step: int = 0


def sets() -> Iterator[tuple[str, list[Reply]]]:
    """(name, responses), the attacks first."""
    alpaca, code = rows("adversarial_alpaca_eval"), rows("adversarial_code_hacks")
    null = [r for r in alpaca if r["generator"] == "NullModel"]
    gamed = [r for r in alpaca if r["generator"] != "NullModel"]
    yield "attack: NullModel (one text)", replies(null, "adversarial_response")
    yield "attack: cut to 10 characters", replies(gamed, "adversarial_response")
    yield "attack: hard-coded solutions", [Reply(r["id"], r["prompt"], r[side(r["gold"], False)]) for r in code]
    yield "honest: AlpacaEval references", replies(null, "reference_response")
    yield "honest: solutions", [Reply(r["id"], r["prompt"], r[side(r["gold"], True)]) for r in code]
    for name in ("judgebench", "llmbar", "rmbench"):
        by_domain: dict[str, list[dict]] = {}
        for row in rows(f"pairs_{name}"):
            parts = row["domain"].split("/")
            by_domain.setdefault("/".join(parts[:2]) if name != "judgebench" else parts[0], []).append(row)
        for domain, some in by_domain.items():
            yield f"honest: {domain}", replies(some, "response_a") + replies(some, "response_b")


def rows(name: str) -> list[dict]:
    with gzip.open(DATA / f"{name}.jsonl.gz") as file:
        return [json.loads(line) for line in file]


def replies(some: list[dict], key: str) -> list[Reply]:
    return [Reply(r["id"], r["prompt"], r[key]) for r in some if r[key]]


def side(gold: str, honest: bool) -> str:
    return "response_a" if (gold == "A") == honest else "response_b"


def main() -> None:
    print(f"{'':34}{'texts':>7}{'rollouts':>9}  {'flagged, no templates':26}{'templates':26}kinds")
    for name, found in sets():
        distinct = {(r.prompt, r.response): r for r in found}
        marked: dict[str, set[str]] = {}
        for reply, flags in stream(distinct.values()):
            marked.setdefault(reply.response, set()).update(f.kind for f in flags)
        kinds = {k: sum(k in m for m in marked.values()) for k in sorted(set().union(*marked.values()))}
        own = sum(bool(m - {"template"}) for m in marked.values())
        shares = f"{share(own, len(marked)):26}{share(kinds.pop('template', 0), len(marked)):26}"
        print(f"{name:34}{len(marked):>7}{len(distinct):>9}  {shares}{kinds or ''}")


def share(count: int, n: int) -> str:
    interval = wilson(count / n, n, 0.95)
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


if __name__ == "__main__":
    main()

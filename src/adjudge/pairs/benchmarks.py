"""Benchmarks of judges and reward models in the form in which they are published.

Domains: RewardBench's subsets stand in its four sections; the names of RewardBench 2, RM-Bench and JudgeBench are kept.
Math and code have a domain of their own wherever the source tells them apart.
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import PurePath

from adjudge.errors import DataError
from adjudge.pairs import fields
from adjudge.pairs.fields import SAME, Reading, Row
from adjudge.types import Pair, Side, drawn_side

SEVERAL_RIGHT = "several right answers (Ties): read them with as_pairs"

_SECTIONS = {
    "Chat": "alpacaeval-easy alpacaeval-length alpacaeval-hard mt-bench-easy mt-bench-med mt-bench-medium",
    "Chat Hard": "mt-bench-hard llmbar-natural llmbar-adver-neighbor llmbar-adver-GPTInst llmbar-adver-GPTOut "
    "llmbar-adver-manual",
    "Safety": "refusals-dangerous refusals-offensive xstest-should-refuse xstest-should-respond donotanswer",
    "Reasoning/math": "math-prm",
    "Reasoning/code": "hep-cpp hep-go hep-java hep-js hep-python hep-rust",
}
REWARDBENCH_SECTION = {subset: section for section, subsets in _SECTIONS.items() for subset in subsets.split()}
RM_BENCH_STYLES = ("concise", "detailed_plain", "detailed_markdown")
_JUDGEBENCH_KEYS = ("pair_id", "source", "question", "response_A", "response_B", "label")
_JUDGEBENCH_DOMAINS = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}


def rewardbench(row: Row, reading: Reading) -> Iterator[Pair]:
    """RewardBench: one chosen, one rejected response."""
    subset = fields.text(row, "subset")
    right, wrong = fields.text(row, "chosen"), fields.text(row, "rejected")
    if right == wrong:
        reading.left_out[SAME] += 1
        return
    yield fields.drawn(
        f"rewardbench/{subset}/{fields.name(row, 'id')}",
        right,
        wrong,
        reading.seed,
        prompt=fields.text(row, "prompt"),
        domain=f"RewardBench/{REWARDBENCH_SECTION.get(subset, subset)}",
        source="allenai/reward-bench",
        meta=fields.rest(row, "id", "prompt", "chosen", "rejected"),
    )


def rewardbench2(row: Row, reading: Reading) -> Iterator[Pair]:
    """RewardBench 2, best of n: the responses stand in the order of a seeded hash. `as_pairs`: each right one against
    each wrong one, the only way to use the subset Ties, whose items have several right answers.
    """
    subset = fields.text(row, "subset")
    right, wrong = fields.texts(row, "chosen"), fields.texts(row, "rejected")
    if not right or not wrong:
        raise DataError("needs a chosen and a rejected response at least", remedy="delete the row")
    pair_id = f"rewardbench2/{subset}/{fields.name(row, 'id')}"
    prompt, domain, source = fields.text(row, "prompt"), f"RewardBench2/{subset}", "allenai/reward-bench-2"
    meta = fields.rest(row, "id", "prompt", "chosen", "rejected")
    if reading.as_pairs:
        for i, chosen in enumerate(right):
            for j, rejected in enumerate(wrong):
                one = f"{pair_id}/{i}-{j}"
                yield fields.drawn(
                    one, chosen, rejected, reading.seed, prompt=prompt, domain=domain, source=source, meta=meta
                )
    elif len(right) > 1:
        reading.left_out[SEVERAL_RIGHT] += 1
    else:
        responses = right + wrong
        order = sorted(range(len(responses)), key=lambda i: _draw(reading.seed, pair_id, i))
        yield Pair(
            id=pair_id,
            prompt=prompt,
            gold=drawn_side(pair_id, reading.seed),
            domain=domain,
            source=source,
            responses=tuple(responses[i] for i in order),
            gold_index=order.index(0),
            meta=meta,
        )


def rm_bench(row: Row, reading: Reading) -> Iterator[Pair]:
    """RM-Bench: three styles of a right response against three of a wrong one, nine pairs.

    The difficulty is "hard" where the wrong response has the richer style, "easy" where the right one has it.
    """
    domain = fields.text(row, "domain")
    right, wrong = fields.texts(row, "chosen", 3), fields.texts(row, "rejected", 3)
    base = f"rmbench/{domain}/{fields.name(row, 'id').removeprefix(domain + '/')}"
    prompt, meta = fields.text(row, "prompt"), fields.rest(row, "id", "prompt", "chosen", "rejected", "domain")
    for i, chosen in enumerate(right):
        for j, rejected in enumerate(wrong):
            pair_id = f"{base}/{i}{j}"
            styles = (RM_BENCH_STYLES[i], RM_BENCH_STYLES[j])
            a, b = styles if drawn_side(pair_id, reading.seed) == "A" else styles[::-1]
            difficulty = "hard" if j > i else "easy" if j < i else "normal"
            yield fields.drawn(
                pair_id,
                chosen,
                rejected,
                reading.seed,
                prompt=prompt,
                domain=f"RM-Bench/{domain}",
                source="THU-KEG/RM-Bench",
                meta={**meta, "style_a": a, "style_b": b, "difficulty": difficulty},
            )


def judgebench(row: Row, reading: Reading) -> Iterator[Pair]:  # noqa: ARG001  # one signature for all formats
    """JudgeBench: two responses in their published places and the label "A>B" or "B>A"."""
    model, subset, verdict = fields.text(row, "response_model"), fields.text(row, "source"), fields.text(row, "label")
    gold: dict[str, Side] = {"A>B": "A", "B>A": "B"}
    if verdict not in gold:
        raise DataError(f"'label' must be 'A>B' or 'B>A', not {verdict!r}", remedy="mend the row")
    group = next((d for start, d in _JUDGEBENCH_DOMAINS.items() if subset.startswith(start)), subset)
    yield Pair(
        id=f"judgebench/{model}/{fields.name(row, 'pair_id')}",
        prompt=fields.text(row, "question"),
        response_a=fields.text(row, "response_A"),
        response_b=fields.text(row, "response_B"),
        gold=gold[verdict],
        domain=f"JudgeBench/{group}",
        source="ScalerLab/JudgeBench",
        meta={"subset": subset, **fields.rest(row, *_JUDGEBENCH_KEYS)},
    )


def llmbar(row: Row, reading: Reading) -> Iterator[Pair]:
    """LLMBar: two outputs in their published places, label 1 or 2. The domain is the file's path below `Dataset`."""
    prompt, one, two = fields.text(row, "input"), fields.text(row, "output_1"), fields.text(row, "output_2")
    gold: dict[object, Side] = {1: "A", 2: "B", "1": "A", "2": "B"}
    verdict = row.get("label")
    if isinstance(verdict, bool | list | dict) or verdict not in gold:
        raise DataError(f"'label' must be 1 or 2, not {verdict!r:.40}", remedy="mend the row")
    yield Pair(
        id=fields.content_id("llmbar", prompt, one, two),
        prompt=prompt,
        response_a=one,
        response_b=two,
        gold=gold[verdict],
        domain=_llmbar_domain(reading.path),
        source="princeton-nlp/LLMBar",
        meta=fields.rest(row, "input", "output_1", "output_2", "label"),
    )


def _llmbar_domain(path: str) -> str:
    parts = PurePath(path).parent.parts
    if "Dataset" in parts:
        return "/".join(parts[parts.index("Dataset") + 1 :]) or "LLMBar"
    return "LLMBar"


def _draw(seed: int, pair_id: str, index: int) -> bytes:
    return blake2b(f"{seed}:{pair_id}:{index}".encode(), digest_size=8).digest()

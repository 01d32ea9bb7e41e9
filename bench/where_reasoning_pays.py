"""Write docs/results/where-reasoning-pays.md from the recorded judgments of ../shared/data.

python -m bench.where_reasoning_pays
"""

from pathlib import Path
from typing import NamedTuple

from adjudge import records
from adjudge.compare import Comparison, Contrast, Row, compare

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
OUT = ROOT / "docs" / "results" / "where-reasoning-pays.md"


class Case(NamedTuple):
    title: str
    file: str
    evaluator: str
    cheap: str
    dear: str
    remark: str


CASES = (
    Case(
        "Qwen2.5-7B on RewardBench 2",
        "records_rewardbench2_qwen",
        "Qwen2.5-7B@rewardbench2",
        "Qwen2.5-7B-Instruct",
        "RISE-Judge-Qwen2.5-7B",
        "The same family without and with a reasoning fine-tune. Best of four: chance is 25 %.",
    ),
    Case(
        "GPT-5.4 on RewardBench 2",
        "records_rewardbench2_gpt54",
        "gpt-5.4-family@rewardbench2",
        "gpt-5.4-mini_k1",
        "gpt-5.4+criteria_k8",
        "One draw of the small model against eight of the large one with criteria. Ratings 1-10, no order.",
    ),
    Case(
        "ChatGPT on LLMBar",
        "records_llmbar",
        "ChatGPT",
        "Vanilla_NoRules",
        "Metrics_Reference",
        "Verdict only, against writing metrics and an answer of its own first.",
    ),
    Case(
        "Qwen3-1.7B on JudgeBench",
        "records_judgebench_qwen3_rubric",
        "Qwen3-1.7B@JudgeBench-gpt4o",
        "no_rubric",
        "rubric_by_gpt-4.1",
        "The same small judge without a rubric and with one written by a stronger model.",
    ),
    Case(
        "ChatGPT-0301 on LLMBar",
        "records_llmbar",
        "ChatGPT-0301",
        "Vanilla",
        "CoT",
        "The same rules, verdict only against explain, then decide: the cleanest pair of modes in these records.",
    ),
    Case(
        "mercury and minimax-m2.1 on JudgeBench",
        "records_judgebench_claude",
        "mixed@JudgeBench-claude",
        "mercury",
        "minimax-m2.1",
        "Two models, the second one reasoning under a token cap: 15.7 % of its orders hold no verdict, and those count "
        "as wrong. Its hidden reasoning was not recorded, so its true cost is higher than shown.",
    ),
)

HEAD = """\
# Where reasoning pays

What `adjudge compare` finds in recorded judgments of real judges. The records come from public repositories and are not
part of this one; each table names the command that makes it. Written by `python -m bench.where_reasoning_pays`; the
figures do not depend on the machine.

*Accuracy*: each recorded order counts once, right 1, tie 0.5, no verdict 0. *Gain*: dear minus cheap, in points, on the
same pairs, with a 95 % bootstrap interval over pairs. **Bold** where the interval excludes zero; where nothing differs
about one interval in twenty does so by chance, so a single narrow one is a hint and no finding. *p*: exact McNemar on
pair-level right or not. *Tokens*: mean output tokens per verdict, as recorded.
"""


def main() -> None:
    parts = [HEAD]
    for case in CASES:
        found = records.read(DATA / f"{case.file}.jsonl.gz")
        comparison = compare(found, [case.cheap, case.dear], evaluator=case.evaluator)
        parts.append(section(case, comparison))
    OUT.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {OUT.relative_to(ROOT)}")


def section(case: Case, comparison: Comparison) -> str:
    lines = [
        f"## {case.title}",
        f"{case.remark}\n",
        "```sh",
        f"adjudge compare {case.file}.jsonl.gz --evaluator '{case.evaluator}' --arms '{case.cheap},{case.dear}'",
        "```\n",
        "| domain | pairs | cheap, % | dear, % | gain, points | p | tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [line(row, case) for row in comparison.rows]
    return "\n".join(lines) + "\n"


def line(row: Row, case: Case) -> str:
    cheap, dear, contrast = row.arms[case.cheap], row.arms[case.dear], row.contrasts[case.cheap, case.dear]
    assert cheap.accuracy is not None
    assert dear.accuracy is not None
    return (
        f"| {row.domain} | {row.n:,} | {100 * cheap.accuracy.value:.1f} | {100 * dear.accuracy.value:.1f} "
        f"| {gain(contrast)} | {p_value(contrast)} | {cheap.output_tokens:,.0f} -> {dear.output_tokens:,.0f} |"
    )


def gain(contrast: Contrast) -> str:
    assert contrast.gain is not None
    value, low, high = (100 * x for x in (contrast.gain.value, contrast.gain.low, contrast.gain.high))
    text = f"{value:+.1f}"
    return f"{f'**{text}**' if low > 0 or high < 0 else text} [{low:+.1f}, {high:+.1f}]"


def p_value(contrast: Contrast) -> str:
    p = contrast.mcnemar_p
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    main()

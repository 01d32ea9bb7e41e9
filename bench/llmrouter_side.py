"""The half of `bench.llmrouter` that runs where llmrouter-lib is installed and adjudge is not: FOLDER -> result.json.

Each FOLDER/*.npz is one fold: fit_ID and test_ID (features), performance_GIK (what they are to maximise, in G settings)
and arms. Run it with `python -P`: beside it lies a file of the library's name.

Their routers are built and trained by their own classes from the files that these read, with the settings of their
documentation. Their `route_single` embeds a text with a model that it downloads, so decisions are asked of the trained
model itself, with the features as the embedding.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from llmrouter import models

SETTINGS = {
    "KNNRouter": {"n_neighbors": 5, "weights": "uniform", "metric": "cosine"},
    "SVMRouter": {"kernel": "rbf", "C": 1.0, "gamma": "scale"},
    "MLPRouter": {
        "hidden_layer_sizes": [128, 64],
        "activation": "relu",
        "lr": 0.001,
        "epochs": 100,
        "batch_size": 32,
        "alpha": 0.0001,
    },
    "MFRouter": {"latent_dim": 128, "lr": 0.001, "epochs": 5, "noise_alpha": 0.0},
}
TRAINERS = {"KNNRouter": "KNNRouterTrainer", "SVMRouter": "SVMRouterTrainer"}
TRAINERS |= {"MLPRouter": "MLPTrainer", "MFRouter": "MFRouterTrainer"}
TIMED = 200  # single decisions that are timed


def written(folder: Path, name: str, case: dict[str, np.ndarray], setting: int) -> Path:
    """Their files of one fold; the path of the configuration."""
    fit_ID, performance_IK = case["fit_ID"], case["performance_GIK"][setting]
    torch.save(torch.tensor(fit_ID, dtype=torch.float32), folder / "embeddings.pt")
    with open(folder / "routing.jsonl", "w", encoding="utf-8") as file:
        for i, row in enumerate(performance_IK):
            for arm, value in zip(case["arms"], row, strict=True):
                entry = {"query": f"q{i:06d}", "model_name": str(arm), "performance": float(value), "embedding_id": i}
                file.write(json.dumps(entry) + "\n")
    hparam = SETTINGS[name] | ({"text_dim": fit_ID.shape[1]} if name == "MFRouter" else {})
    data = {"routing_data_train": "routing.jsonl", "query_embedding_data": "embeddings.pt"}
    config = {
        "data_path": {key: str(folder / file) for key, file in data.items()},
        "model_path": {"ini_model_path": "", "save_model_path": str(folder / f"{name}.pkl")},
        "hparam": hparam,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def asker(name: str, router: object, trainer: object) -> Callable[[np.ndarray], list[str]]:
    """Features, shape (N, D) -> names of arms, by the trained model."""
    model = trainer.model

    def ask(x_ND: np.ndarray) -> list[str]:
        if name in ("KNNRouter", "SVMRouter"):
            return [str(arm) for arm in model.predict(x_ND)]
        x = torch.tensor(x_ND, dtype=torch.float32)
        if name == "MLPRouter":
            return [router.idx_to_model[int(k)] for k in model.predict(x)]
        with torch.no_grad():
            rows = [int(torch.argmax(model.score_all(model.project_text(row)))) for row in x]
        return [router.idx_to_model[k] for k in rows]

    return ask


def run(folder: Path, name: str, case: dict[str, np.ndarray], setting: int) -> dict[str, object]:
    torch.manual_seed(0)
    np.random.seed(0)
    config = written(folder, name, case, setting)
    began = time.perf_counter()
    router = getattr(models, name)(str(config))
    loaded = time.perf_counter()
    trainer = getattr(models, TRAINERS[name])(router)
    trainer.train()
    fitted = time.perf_counter()
    ask = asker(name, router, trainer)
    single = []
    for row in case["test_ID"][:TIMED]:
        start = time.perf_counter()
        ask(row[None])
        single.append(time.perf_counter() - start)
    return {
        "router": name,
        "setting": setting,
        "chosen": ask(case["test_ID"]),
        "load_s": loaded - began,
        "fit_s": fitted - loaded,
        "decide_s": float(np.median(single)),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    result = {}
    for path in sorted(folder.glob("*.npz")):
        case = dict(np.load(path))
        found = []
        for name in SETTINGS:
            for setting in range(len(case["performance_GIK"])):
                try:
                    found.append(run(folder, name, case, setting))
                except (ValueError, RuntimeError, TypeError) as error:
                    found.append({"router": name, "setting": setting, "failed": f"{type(error).__name__}: {error}"})
        result[path.stem] = found
    racers = [name for name in dir(models) if "racer" in name.lower()]
    (folder / "result.json").write_text(json.dumps({"folds": result, "racers": racers}), encoding="utf-8")


if __name__ == "__main__":
    main()

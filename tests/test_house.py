"""The house itself: arrows between the rooms, empty sub-package faces, what an install carries."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_point_up_the_data_flow():
    linter = Path(sys.executable).with_name("lint-imports")
    shown = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert shown.returncode == 0, shown.stdout


def test_the_faces_of_sub_packages_are_empty():
    for face in (ROOT / "src" / "adjudge").glob("*/**/__init__.py"):
        assert face.read_text(encoding="utf-8") == "", face


def test_the_core_install_needs_no_training_framework():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {line.split(">")[0].split("=")[0].split("[")[0].strip() for line in project["dependencies"]}
    assert not names & {"torch", "transformers", "trl", "peft", "accelerate", "ray", "datasets", "litellm", "xllamacpp"}

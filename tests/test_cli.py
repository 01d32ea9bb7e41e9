import resource
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-m", "adjudge"]


def adjudge(*args: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *args], capture_output=True, text=True, timeout=120, check=False, **more)


def test_help_answers_at_once_and_names_every_command():
    took_s = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shown = adjudge("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert shown.returncode == 0
    for name in ("demo", "judge", "compare", "report", "route", "pairs", "arms", "import", "export"):
        assert f"\n  {name} " in shown.stdout
    assert min(took_s) < 0.3, "processor time, which a busy machine does not stretch"


def test_help_loads_no_heavy_part():
    code = (
        "import sys, adjudge.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'sqlalchemy', 'alembic', 'pyarrow', 'aiohttp', 'rich', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["juge"], "Did you mean 'judge'?"),
        (["arms"], "give an arms.toml"),
        (["arms", "nowhere.toml"], "no such file"),
        (["compare", "nowhere.jsonl"], "no such file"),
        (["pairs", "check", "nowhere.jsonl"], "no such file"),
        (["judge", "nowhere.jsonl", "--arms", "nowhere.toml"], "no such file"),
        (["import", "nowhere.jsonl", "--store", "s.db"], "no such file"),
        (["export", "--store", "s.db", "out.jsonl"], "s.db"),
        (["report", "nowhere.jsonl", "--out", "r.html"], "no such file"),
    ],
)
def test_bad_input_is_one_line_with_exit_code_2_and_leaves_nothing_behind(tmp_path, args, says):
    shown = adjudge(*args, cwd=tmp_path)
    assert shown.returncode == 2, shown.stderr
    assert says in shown.stderr
    assert shown.stderr.count("\n") == 1
    assert shown.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["demo", "judge", "compare", "report", "route", "pairs", "arms", "import", "export"])
def test_every_command_explains_itself(name):
    shown = adjudge(name, "--help")
    assert shown.returncode == 0
    assert "Usage: adjudge" in shown.stdout
    assert len(shown.stdout.splitlines()) > 8

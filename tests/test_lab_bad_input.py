"""What the lab says to bad input, through the command line: one line that names what, where and the remedy, exit code
2, and what was done before stays whole."""

import contextlib
import errno
import io
import json
import re
import resource
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the extra `lab` is not installed")
pytest.importorskip("trl", reason="the extra `lab` is not installed")

from adjudge.__main__ import main
from adjudge.lab.models.torch_judge import TorchJudge
from adjudge.lab.scoring import Score
from adjudge.lab.study import stages

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")

STUDY = """
name = "test"
about = "a test"
seeds = [0]
threads = 1
judge_tokens = 40
world = { train = 24, test = 8, briefs = 6, held = 6 }

[model]
width = 16
layers = 1
heads = 1
texts = 24
training = { rate = 1e-3, batch = 8 }

[judges.direct]
mode = "direct"
sft = { rate = 1e-9, batch = 8 }

[policies.direct]
judge = "direct"
rl = { rate = 1e-3, steps = 4, prompts = 2, group = 2, max_tokens = 6, save_steps = 1 }

[audit]
every = 1
sample = 3
"""
LABEL = {"id": "0-0", "brief": "Say please.", "response": "Please look.", "score": 9}


def run(capsys, *words):
    """(exit code, stdout, the last line of stderr) of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    said = capsys.readouterr()
    return ended.value.code, said.out, (said.err.splitlines() or [""])[-1]


def refused(capsys, *words):
    """The one line that a command ends with."""
    code, out, line = run(capsys, *words)
    assert (code, out) == (2, ""), line
    assert line.startswith("adjudge: ")
    return line.removeprefix("adjudge: ")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A study whose judge was taught next to nothing: it never says a score."""
    folder = tmp_path_factory.mktemp("taught")
    (folder / "study.toml").write_text(STUDY)
    for stage in ("annotate", "base", "judge-sft", "agreement"):
        said = io.StringIO()
        with pytest.raises(SystemExit) as ended, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            main(["lab", stage, str(folder / "study.toml"), "--out", str(folder / "out")])
        assert ended.value.code == 0, said.getvalue()
    return folder


@pytest.fixture
def study(taught, tmp_path):
    """A copy of it: (preset, --out, the seed's folder)."""
    shutil.copytree(taught, tmp_path, dirs_exist_ok=True)
    return tmp_path / "study.toml", tmp_path / "out", tmp_path / "out" / "seed-0"


def judged_by(monkeypatch, value):
    """Have every judge of this process score by a function of how often it was asked and the place in the batch."""
    calls = iter(range(10**6))

    def score_now(_self, asked):
        call = next(calls)
        return [Score(value(call, k)) for k, _ in enumerate(asked)]

    monkeypatch.setattr(TorchJudge, "score_now", score_now)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# -- gold's labels


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: [*found[:3], {k: v for k, v in LABEL.items() if k != "score"}], r":4: .*missing .*`score`"),
        (lambda found: [*found[:3], LABEL | {"score": None}], ":4: is no label: Expected `int`, got `null`"),
        (lambda found: found[:9], ": holds 9 labels, and gold gave 24"),
        (lambda _found: [], ": is empty"),
        (lambda _found: None, ": no such file"),
    ],
)
def test_missing_labels_are_named_by_file_and_line(study, capsys, change, says):
    preset, out, root = study
    path = root / "labels" / "judge_train.jsonl"
    shutil.rmtree(root / "judges")
    changed = change(lines(path))
    if changed is None:
        path.unlink()
    else:
        path.write_text("".join(json.dumps(line) + "\n" for line in changed))
    line = refused(capsys, "lab", "judge-sft", preset, "--out", out)
    assert re.search(rf"judge_train\.jsonl{says}", line), line


# -- judges that say nothing, or no number


def test_training_against_a_judge_that_gives_no_verdict_stops_and_says_why(study, capsys):
    preset, out, root = study
    line = refused(capsys, "lab", "run", preset, "--out", out)
    assert line.startswith("judge direct gave no verdict on any of the last 12 rollouts (12 unread; read some of")
    assert not (root / "policies" / "direct" / "done.json").exists()
    assert all(rollout.get("proxy") is None for rollout in lines(root / "policies" / "direct" / "rollouts.jsonl"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_reaches_no_trainer(study, capsys, monkeypatch, value):
    preset, out, root = study
    judged_by(monkeypatch, lambda call, k: value if (call, k) == (2, 1) else 4.0 + k)
    line = refused(capsys, "lab", "policy-grpo", preset, "--out", out)
    assert line.startswith(f"judge direct gave {value} for rollout '2-1' of step 2; a score is a finite number")
    policy = root / "policies" / "direct"
    assert {rollout["step"] for rollout in lines(policy / "rollouts.jsonl")} == {0, 1}
    logged = [figures for figures in lines(policy / "figures.jsonl") if "reward" in figures]
    assert [figures["step"] for figures in logged] == [1, 2], "the step of that score was not learned from"


def test_agreement_with_a_score_that_is_no_number_is_no_figure(study, capsys, monkeypatch):
    preset, out, root = study
    shutil.rmtree(root / "agreement")
    judged_by(monkeypatch, lambda _call, k: float("nan") if k == 3 else 4.0)
    line = refused(capsys, "lab", "agreement", preset, "--out", out)
    assert line == "judge direct gave nan for item '1-3'; train it at a lower rate"


# -- what a kill leaves


def test_a_stage_goes_on_past_what_a_kill_left_half_written(study, capsys, monkeypatch):
    preset, out, root = study
    policy, audit = root / "policies" / "direct", root / "audits" / "direct"
    with monkeypatch.context() as patch:
        judged_by(patch, lambda call, k: float("nan") if call == 2 else 4.0 + k)
        refused(capsys, "lab", "policy-grpo", preset, "--out", out)  # two steps are learned and saved
    for name in ("rollouts.jsonl", "figures.jsonl"):
        with open(policy / name, "ab") as file:
            file.write(b'{"step": 1, "id": "half a li')
    half = policy / "checkpoints" / "checkpoint-3"
    shutil.copytree(policy / "checkpoints" / "checkpoint-2", half)
    state = half / "trainer_state.json"
    state.write_bytes(state.read_bytes()[:100])
    (half / "model.safetensors").write_bytes(b"half")
    judged_by(monkeypatch, lambda _call, k: 4.0 + k)
    assert run(capsys, "lab", "run", preset, "--out", out)[0] == 0
    assert [r["id"] for r in lines(policy / "rollouts.jsonl")] == [f"{s}-{k}" for s in range(4) for k in range(4)]
    assert [f["step"] for f in lines(policy / "figures.jsonl")] == [1, 2, 3, 4, 4]
    whole = (audit / "audit.jsonl").read_bytes()
    (audit / "done.json").unlink()
    (audit / "audit.jsonl").write_bytes(whole[: len(whole) * 2 // 3])
    assert run(capsys, "lab", "audit", preset, "--out", out)[0] == 0
    assert (audit / "audit.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("labels/done.json", b'{"key": "25e8', "is no end of a stage: .*; delete it and run the stage again"),
        ("labels/done.json", b"", "is no end of a stage: .*; delete it and run the stage again"),
        ("labels/briefs_train.jsonl", b'{"brief": "Say pl', "briefs_train.jsonl:1: is no brief"),
    ],
)
def test_a_file_that_is_not_whole_is_named(study, capsys, name, content, says):
    preset, out, root = study
    (root / name).write_bytes(content)
    assert re.search(says, refused(capsys, "lab", "run", preset, "--out", out))


def test_a_stage_that_was_begun_with_other_settings_is_not_gone_on_with(study, capsys, monkeypatch):
    preset, out, root = study
    judged_by(monkeypatch, lambda call, k: float("nan") if call == 2 else 4.0 + k)
    refused(capsys, "lab", "policy-grpo", preset, "--out", out)
    preset.write_text(STUDY.replace("steps = 4", "steps = 5"))
    line = refused(capsys, "lab", "policy-grpo", preset, "--out", out)
    assert line == f"{root / 'policies' / 'direct'} was begun with other settings; delete it, or give another --out"


# -- the disk


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@pytest.mark.slow
def test_a_disk_that_takes_no_more_ends_the_run_in_one_line_and_room_lets_it_go_on(taught, tmp_path, capsys):
    preset, out = taught / "study.toml", tmp_path / "out"
    words = ["lab", "run", str(preset), "--out", str(out)]
    command = [sys.executable, "-m", "adjudge", *words]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files, check=False)
    *before, line = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert re.fullmatch(r"adjudge: .*/base.*: cannot be written: File too large; make room and run the same .*", line)
    assert before == ["seed 0: annotate", "seed 0: base"]
    whole = taught / "out" / "seed-0"
    assert (out / "seed-0" / "labels" / "done.json").exists()
    for name in ("judge_train.jsonl", "judge_test.jsonl", "briefs_train.jsonl", "briefs_held.jsonl"):
        assert (out / "seed-0" / "labels" / name).read_bytes() == (whole / "labels" / name).read_bytes()
    assert run(capsys, "lab", "base", *words[2:])[0] == 0
    assert weights(out / "seed-0" / "base") == weights(whole / "base")


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("file", r"Invalid value for '--out': Directory '.*/file' is a file"),
        ("file/below", "cannot be written: Not a directory; give another --out"),
    ],
)
def test_an_out_that_cannot_be_a_folder_is_named(taught, tmp_path, capsys, out, says):
    (tmp_path / "file").write_text("")
    assert re.search(says, refused(capsys, "lab", "annotate", taught / "study.toml", "--out", tmp_path / out))


def test_an_out_that_is_not_ours_is_named(taught, tmp_path, capsys, monkeypatch):
    def not_ours(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(stages.Path, "mkdir", not_ours)  # root may write everywhere
    line = refused(capsys, "lab", "annotate", taught / "study.toml", "--out", tmp_path / "out")
    assert line.endswith("cannot be written: Permission denied; give another --out, or mend its permissions")


# -- what is not installed


@pytest.mark.parametrize("module", ["torch", "trl", "tensorboard"])
def test_a_missing_part_is_named_with_the_command_that_installs_it(taught, tmp_path, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    line = refused(capsys, "lab", "run", taught / "study.toml", "--out", tmp_path / "out")
    assert line == f"the lab ({module}) is not installed; run: pip install 'adjudge[lab]'"
    assert not (tmp_path / "out").exists()


def test_a_part_that_is_there_and_cannot_be_imported_is_named_too(taught, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libtorch.so: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from adjudge.__main__ import main; main()"
    words = ["lab", "run", str(taught / "study.toml"), "--out", str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert line.startswith("adjudge: a part of the lab (libtorch.so: cannot open shared object file) is not installed")
    assert line.endswith("run: pip install 'adjudge[lab]'")


# -- presets


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("train = 24", "train = 0", "world.train: Expected `int` >= 1; it is 0"),
        ("held = 6", "held = -2", "world.held: Expected `int` >= 1; it is -2"),
        ("steps = 4", "steps = 0", "policies.direct.rl.steps: Expected `int` >= 1; it is 0"),
        ("group = 2", "group = 1", "policies.direct.rl.group: Expected `int` >= 2; it is 1"),
        ("sample = 3", "sample = 0", "audit.sample: Expected `int` >= 1; it is 0"),
        ("every = 1", "every = 0", "audit.every: Expected `int` >= 1; it is 0"),
        ("rate = 1e-9", "rate = nan", "judges.direct.sft.rate is nan; give a finite number"),
        ("rate = 1e-9", "rate = inf", "judges.direct.sft.rate is inf; give a finite number"),
        ("rate = 1e-9", "rate = 0.0", "judges.direct.sft.rate: Expected `float` > 0.0; it is 0.0"),
        ("rate = 1e-9", 'rate = "high"', "judges.direct.sft.rate: Expected `float`, got `str`; it is 'high'"),
        ("rate = 1e-9", 'schedule = "odd"', "judges.direct.sft.schedule: Invalid enum value 'odd'"),
        ("rate = 1e-9", "rat = 1.0", "judges.direct.sft: Object contains unknown field `rat`; did you mean 'rate'"),
        ("seeds = [0]", "seeds = []", "seeds: Expected `array` of length >= 1"),
        ("seeds = [0]", "seeds = [-1]", "seeds[0]: Expected `int` >= 0"),
        ("heads = 1", "heads = 3", "width 16 must be a multiple of twice the heads (3)"),
        ("briefs = 6", "briefs = 1", "policies.direct: 2 prompts a step need as many world.briefs, not 1"),
        ("[judges.direct]", '[judges."../direct"]', "judges.'../direct': names are letters, digits"),
        ("[judges.direct]", "[judges.gold]", "judges.gold: 'gold' is the name of a gold; take another"),
        ('mode = "direct"', 'mode = "direct"\nstart = "direct"', "judges.direct: start goes in a circle (direct)"),
        ('mode = "direct"', 'mode = "direct"\nstart = "none"', "judges.direct: no judge 'none' to start from"),
        ('judge = "direct"', 'judge = "me"', "policies.direct: no judge 'me'; known: gold, blind-gold, direct"),
    ],
)
def test_a_preset_that_cannot_be_is_refused_before_anything_is_made(tmp_path, capsys, old, new, says):
    assert old in STUDY
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace(old, new, 1))
    line = refused(capsys, "lab", "run", path, "--out", tmp_path / "out")
    assert says in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", ["-1", "4001", "x"])
def test_a_seed_that_no_generator_takes_is_refused(taught, tmp_path, capsys, seed):
    line = refused(capsys, "lab", "run", taught / "study.toml", "--out", tmp_path / "out", "--seed", seed)
    assert line.startswith("Invalid value for '--seed'")

from pathlib import Path

import pytest

from adjudge import config
from adjudge.errors import ConfigError
from adjudge.types import Price

ARMS = """
[servers.s]
url = "http://127.0.0.1:1/v1"
api_key_env = "SOME_KEY"

[arms.plain]
server = "s"
model = "m"
price = { input = 1.0, output = 2.0 }

[arms.think]
like = "plain"
mode = "reasoning"
"""


def settings(text: str, tmp_path: Path) -> config.Settings:
    file = tmp_path / "arms.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(file)


def test_an_arm_inherits_what_it_does_not_say(tmp_path):
    arms = settings(ARMS, tmp_path).arms
    assert arms["think"].mode == "reasoning"
    assert arms["think"].price == arms["plain"].price == Price(input=1.0, output=2.0)
    assert arms["think"].name == "think"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('mode = "reasoning"', 'mod = "reasoning"', "unknown key 'mod'; did you mean 'mode'?"),
        ('mode = "reasoning"', 'mode = "thinking"', "Invalid enum value 'thinking'"),
        ('like = "plain"', 'like = "plian"', "did you mean 'plain'?"),
        ('like = "plain"', 'like = "think"', "circle"),
        ('server = "s"', 'server = "t"', "no server 't'"),
        ('model = "m"', "", "model is missing"),
        ("input = 1.0", "input = -1.0", "prices must be 0 or more"),
        ("input = 1.0", "inptu = 1.0", "inptu"),
        ('api_key_env = "SOME_KEY"', 'api_key = "sk-123"', "name the variable that holds it: api_key_env"),
        ('api_key_env = "SOME_KEY"', 'api_key_env = "sk-abcdefghijklmnop"', "looks like a key"),
        ('url = "http://127.0.0.1:1/v1"', 'url = "127.0.0.1:1"', "no http(s) address"),
        ('mode = "reasoning"', "samples = 0", "samples must be at least 1"),
        ('mode = "reasoning"', "scale = [9, 0]", "scale [9, 0]"),
        ('mode = "reasoning"', 'rubric = "arm:plain"', 'names no arm with protocol = "rubric"'),
        ('mode = "reasoning"', 'rubric = "nowhere.txt"', "cannot read 'nowhere.txt'"),
        ('mode = "reasoning"', 'prompt = "nowhere.jinja"', "cannot read 'nowhere.jinja'"),
        ('mode = "reasoning"', 'protocol = "self-routing"', "needs choices"),
        ('mode = "reasoning"', "fences = false", "is for a prompt of your own"),
        ('mode = "reasoning"', 'choices = ["plain", "think"]', "belong to protocol"),
        ("[arms.think]", "[arm.think]", "unknown key 'arm'; did you mean 'arms'?"),
        ("[arms.think]", '[arms."a,b"]', "may hold no ':' or ','"),
    ],
)
def test_a_fault_is_one_line_with_file_place_and_remedy(tmp_path, old, new, says):
    assert old in ARMS
    with pytest.raises(ConfigError) as caught:
        settings(ARMS.replace(old, new), tmp_path)
    message = str(caught.value)
    assert says in message
    assert "arms.toml" in message
    assert "\n" not in message
    assert "sk-" not in message


def test_a_key_comes_from_the_variable_and_a_missing_one_is_said(tmp_path):
    read = settings(ARMS, tmp_path)
    assert read.api_key("s", {"SOME_KEY": "secret"}) == "secret"
    with pytest.raises(ConfigError, match="SOME_KEY is not set"):
        read.api_key("s", {})


def test_the_arm_key_changes_with_what_changes_the_answer_and_with_nothing_else(tmp_path):
    key = settings(ARMS, tmp_path).arm_key("think")
    same = [
        ("input = 1.0", "input = 9.0"),
        ("[arms.think]", "[arms.renamed]"),
        ("127.0.0.1:1", "127.0.0.1:2"),
        ('api_key_env = "SOME_KEY"', 'api_key_env = "OTHER"\nretries = 1\nrequests_per_minute = 5'),
    ]
    for old, new in same:
        read = settings(ARMS.replace(old, new), tmp_path)
        assert read.arm_key("renamed" if "renamed" in new else "think") == key, new
    other = [
        'mode = "instruct"',
        'mode = "reasoning"\nmodel = "n"',
        'mode = "reasoning"\nsamples = 2',
        'mode = "reasoning"\norders = "ab"',
        'mode = "reasoning"\nmax_tokens = 7',
        'mode = "reasoning"\nsampling = { temperature = 0.5 }',
        'mode = "reasoning"\nextra = { top_k = 3 }',
        'mode = "reasoning"\nprotocol = "pointwise"',
        'mode = "reasoning"\nrepair = false',
        'mode = "reasoning"\nanswer_after = "[RESULT]"',
    ]
    keys = {settings(ARMS.replace('mode = "reasoning"', new), tmp_path).arm_key("think") for new in other}
    assert len(keys) == len(other)
    assert key not in keys


def test_the_arm_key_follows_the_text_of_a_prompt_file_and_of_the_rubric_arm(tmp_path):
    text = ARMS.replace('mode = "reasoning"', 'prompt = "p.jinja"\nrubric = "arm:writer"')
    text += '[arms.writer]\nlike = "plain"\nprotocol = "rubric"\n'
    (tmp_path / "p.jinja").write_text("one", encoding="utf-8")
    first = settings(text, tmp_path).arm_key("think")
    (tmp_path / "p.jinja").write_text("two", encoding="utf-8")
    second = settings(text, tmp_path).arm_key("think")
    third = settings(text.replace('protocol = "rubric"', 'protocol = "rubric"\nmax_tokens = 9'), tmp_path)
    assert len({first, second, third.arm_key("think")}) == 3


def test_the_arm_key_follows_the_prompts_that_ship_with_the_program(tmp_path, monkeypatch):
    read = settings(ARMS, tmp_path)
    before = read.arm_key("plain")
    monkeypatch.setattr(config, "_builtin_prompts", lambda: "other words")
    assert read.arm_key("plain") != before


def test_all_means_every_arm_that_gives_a_verdict_and_a_wrong_name_names_the_nearest(tmp_path):
    read = settings(ARMS + '[arms.writer]\nlike = "plain"\nprotocol = "rubric"\n', tmp_path)
    assert [a.name for a in read.choose(["all"])] == ["plain", "think"]
    with pytest.raises(ConfigError, match="did you mean 'think'"):
        read.choose(["thnik"])


def test_the_example_is_a_valid_file(tmp_path):
    from importlib import resources

    example = resources.files("adjudge").joinpath("commands/example_arms.toml").read_text("utf-8")
    assert settings(example, tmp_path).choose(["all"])

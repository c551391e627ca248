"""The help page and what a command does with it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from holosoma_jax.config import compose, files, keys
from holosoma_jax.config.command_line import help
from holosoma_jax.config.schema import Config, PpoConfig, TrainingConfig
from holosoma_jax.config.schema import learner as learner_schema


@dataclass(frozen=True)
class Arguments:
    """What to evaluate."""

    checkpoint: str
    """A run directory."""
    best_of: int = 3
    """How many."""


def page(*argv: str, capsys, **kwargs) -> str:
    with pytest.raises(SystemExit) as caught:
        compose.parse_or_exit([*argv, "--help"], "python -m some.command", "Does one thing.", **kwargs)
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_page_lists_every_preset_and_every_key(capsys):
    text = page("exp:g1-29dof", capsys=capsys)
    assert text.startswith("Usage: python -m some.command exp:NAME")
    assert "Does one thing." in text
    for group in ("exp", *files.GROUPS):
        for name in files.names(group):
            assert name in text
    mapping = compose.to_mapping(compose.load(["exp:g1-29dof"]))
    for path, _ in keys.walk(Config, mapping):
        if path != ("exp",) and path[-1] not in ("func", "tags", "order"):
            assert f"  {keys.as_flag(path)} = " in text
    assert "\x1b" not in text  # plain where it is not a terminal


def test_the_page_shows_meaning_type_and_the_chosen_values(capsys):
    text = " ".join(page("exp:g1-29dof", "--training.num-envs=64", capsys=capsys).split())
    assert f"--training.num-envs = 64 {help.docs(TrainingConfig)['num_envs']} (an integer >= 1)" in text
    assert "--reward.terms.feet-phase.params.swing-height = 0.09" in text
    assert "the values of exp:g1-29dof" in text


def test_without_a_preset_the_page_shows_defaults_and_how_terms_are_written(capsys):
    text = page(capsys=capsys)
    assert "--reward.terms.TERM.weight" in text
    assert "feet-phase" not in text
    assert "add exp:NAME" in text


def test_help_wins_over_mistakes(capsys):
    assert "Usage:" in page("exp:nothing", "--training.sed=1", capsys=capsys)


def test_the_commands_own_flags_come_first(capsys):
    text = page("-h", capsys=capsys, extra=Arguments)
    assert "  --checkpoint (required)\n      A run directory. (text)" in text
    assert "  --best-of = 3" in text
    assert text.index("--best-of") < text.index("--training.num-envs")
    assert "exp:NAME" in text
    text = page("-h", capsys=capsys, extra=Arguments, base={})
    assert "exp:NAME" not in text  # a saved config is where it starts from


def test_every_field_is_documented():
    missing = [
        f"{section.__name__}.{name}"
        for section in sections(Config)
        for name, tp in keys.hints_in(section, {}).items()
        if not (keys.section_of(tp) or keys.terms_of(tp)) and not help.docs(section).get(name)
    ]
    assert missing == []
    assert help.docs(PpoConfig)["lam"].startswith("Lambda ")


def sections(root: type) -> set[type]:
    found = {root}
    for learner in learner_schema.SECTIONS.values() if root is learner_schema.AlgoConfig else ():
        found |= sections(learner)
    for tp in keys.hints_in(root, {}).values():
        if inner := keys.section_of(tp) or keys.terms_of(tp):
            found |= sections(inner)
    return found


def test_an_error_is_one_line_on_stderr_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        compose.parse_or_exit(["exp:g1-29dof", "--training.sed=1"], "prog")
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(r"error: --training\.sed: .*--training\.seed\?", err)
    assert err.count("\n") == 1
    with pytest.raises(SystemExit):
        compose.parse_or_exit(["exp:g1-29dof"], "prog", extra=Arguments)
    assert re.fullmatch("error: --checkpoint: missing.*\n", capsys.readouterr().err)
    with pytest.raises(SystemExit):
        compose.parse_or_exit(["exp:g1-29dof", "--chekpoint=x", "--checkpoint=y"], "prog", extra=Arguments)
    assert "Did you mean --checkpoint?" in capsys.readouterr().err


def test_what_is_right_is_returned():
    assert compose.parse_or_exit(["exp:g1-29dof"], "prog") == compose.load(["exp:g1-29dof"])
    config, arguments = compose.parse_or_exit(["exp:g1-29dof", "--checkpoint=a"], "prog", extra=Arguments)
    assert (config.exp, arguments) == ("g1-29dof", Arguments("a"))


@pytest.mark.parametrize(
    "argv", [["--help", "exp:g1-29dof"], ["exp:g1-29dof", "--training.seed=x"], ["exp:nope"]]
)
def test_help_and_most_errors_do_not_import_jax(argv):
    script = (
        "import sys\n"
        "from holosoma_jax.config import compose\n"
        "try:\n    compose.parse_or_exit(sys.argv[1:], 'prog')\n"
        "except SystemExit:\n    assert 'jax' not in sys.modules\n"
        "else:\n    raise AssertionError('neither help nor an error')\n"
    )
    subprocess.run([sys.executable, "-c", script, *argv], check=True, capture_output=True)


def test_help_into_a_closed_pipe_is_quiet():
    script = (
        "from holosoma_jax.config import compose; compose.parse_or_exit(['--help', 'exp:g1-29dof'], 'prog')"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{script}" | head -1'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Usage:")
    assert done.stderr == ""

"""Values that used to end in a traceback, hang or make no sense: one short line each, which names the key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.errors import LONGEST, ConfigError
from holosoma_jax.config.validation import limits

PPO, SAC, WBT = "exp:g1-29dof", "exp:g1-29dof-fast-sac", "exp:g1-29dof-wbt"
MOTION = "--command.setup-terms.motion-command.params.motion-config."
GROUND = "--terrain.terrain-term."
MESH = "terrain:terrain-load-obj"
REWARD = "--reward.terms.tracking-lin-vel.params."
ROOT_STATE = "--randomization.reset-terms.randomize-root-state.params."
CURRICULUM = "--curriculum.setup-terms.penalty-curriculum.params."


@pytest.mark.parametrize(
    ("exp", "flag", "value"),
    [
        # out of any memory
        (PPO, "--training.num-envs", "1000000000"),
        (PPO, "--algo.config.num-steps-per-env", "1000000000"),
        (SAC, "--algo.config.num-atoms", "1000000000"),
        (SAC, "--algo.config.buffer-size", "1000000000"),
        (SAC, "--algo.config.batch-size", "2000000000"),
        (PPO, "--algo.config.actor-hidden", "[1000000,1000000]"),
        (PPO, "--observation.groups.actor-obs.history-length", "1000000"),
        # the ground
        (PPO, f"{GROUND}num-rows", "100000"),
        (PPO, f"{GROUND}num-cols", "1000000000"),
        (PPO, f"{GROUND}terrain-length", "9000"),
        (PPO, f"{GROUND}terrain-width", "1e30"),
        (PPO, f"{GROUND}border-size", "9999"),
        (PPO, f"{GROUND}horizontal-scale", "1e-9"),
        (PPO, f"{GROUND}horizontal-scale", "1.5"),
        (PPO, f"{GROUND}vertical-scale", "1e-60"),
        (PPO, f"{GROUND}vertical-scale", "1e20"),
        (PPO, f"{GROUND}scale-factor", "1e6"),
        (PPO, f"{GROUND}scale-factor", "900"),
        (PPO, f"{GROUND}max-slope", "1e9"),
        (PPO, f"{GROUND}platform-size", "1e9"),
        (PPO, f"{GROUND}amplitude-range", "[0,1e30]"),
        (PPO, f"{GROUND}spawn.grid-size", "1000000"),
        (PPO, f"{GROUND}spawn.xy-offset-range", "1e30"),
        # what 32 bits cannot hold
        (PPO, "--simulator.config.sim.max-episode-length-s", "1e308"),
        (PPO, "--simulator.config.sim.max-episode-length-s", "1e30"),
        (PPO, "--simulator.config.sim.max-episode-length-s", str(2**63)),
        (PPO, "--simulator.config.mujoco.iterations", "99999999999"),
        (PPO, "--simulator.config.mujoco.num-threads", "1000000000"),
        (PPO, "--algo.config.entropy-coef", "1e39"),
        (PPO, "--algo.config.actor-learning-rate", "1e-50"),
        (PPO, "--reward.terms.alive.weight", "-1e300"),
        # senseless
        (PPO, f"{REWARD}tracking-sigma", "0"),
        (PPO, f"{REWARD}tracking-sigma", "-0.25"),
        # text that reads as a number: pydantic took it for one
        (PPO, f"{REWARD}tracking-sigma", "inf"),
        (PPO, f"{REWARD}tracking-sigma", "'0.5'"),
        (PPO, "--command.setup-terms.locomotion-command.params.command-ranges.lin-vel-x", "[nan,nan]"),
        (PPO, "--randomization.setup-terms.actuator-randomizer-state.params.kp-range", "[0.9,inf]"),
        (PPO, "--randomization.setup-terms.push-randomizer-state.params.enabled", "yes"),
        (WBT, f"{MOTION}noise-to-initial-pose.dof-pos", "inf"),
        (PPO, f"{CURRICULUM}min-scale", "2"),
        (PPO, f"{CURRICULUM}level-down-threshold", "800"),
        (SAC, "--algo.config.v-min", "30"),
        (WBT, "--robot.object.inertia", "[1,1,5]"),
        (WBT, "--robot.object.init-pos", "[1e9,0,0]"),
        (WBT, "--robot.object.init-pos", "[0,0,-1]"),
        ("exp:g1-29dof-wbt-fast-sac", "--algo.config.symmetric-networks", "true"),
        (PPO, f"{ROOT_STATE}height-range", "[-50,0]"),
        (PPO, f"{ROOT_STATE}height-range", "[0,1e5]"),
        (PPO, f"{ROOT_STATE}height-range", "[0.2,0.1]"),
        (PPO, "--termination.terms.contact.params.force-threshold", "-1"),
        (PPO, f"{CURRICULUM}initial-scale", "-1"),
        (PPO, f"{CURRICULUM}initial-scale", "3"),
        (PPO, f"{CURRICULUM}degree", "-1"),
        (PPO, "--curriculum.setup-terms.average-episode-tracker.params.num-compute-average-epl", "0"),
        (PPO, "--reward.terms.feet-phase.params.swing-height", "-0.1"),
        (PPO, "--reward.terms.penalty-close-feet-xy.params.close-feet-threshold", "-1"),
        (PPO, "--reward.terms.pose.params.pose-weights", "[-1]"),
        (PPO, "--command.setup-terms.locomotion-command.params.command-ranges.lin-vel-x", "[-1e9,1e9]"),
        (PPO, "--algo.config.actor-optimizer.b1", "1"),
        (PPO, "--algo.config.actor-learning-rate", "3"),
        (PPO, "--robot.init-state.pos", "[0,0,-1]"),
        (PPO, "--simulator.config.sim.fps", "1"),
        (SAC, "--algo.config.tau", "0"),
        (SAC, "--algo.config.log-std-max", "100"),
        (SAC, "--algo.config.num-critics", "1000000"),
        (WBT, "--reward.terms.undesired-contacts.params.threshold", "-1"),
        (WBT, f"{MOTION}default-pose-append-duration-s", "1e9"),
        (WBT, f"{MOTION}sampler.seconds-per-bin", "1e-9"),
        (WBT, f"{MOTION}sampler.kernel-size", "2000000000"),
        # squared, no float32
        (PPO, f"{REWARD}tracking-sigma", "1e-30"),
        (PPO, "--termination.terms.contact.params.force-threshold", "1e30"),
        # Hydra's interpolation
        (PPO, "--training.name", "${now:%Y}"),
        # not text that a file system or a terminal takes
        (PPO, "--training.name", "a\0b"),
        (PPO, "--training.name", "a\x1b[31m"),
        (PPO, "--training.output-dir", "a\0b"),
        (PPO, "--training.checkpoint", "a" * 5000),
        (PPO, "--training.name", "\udcff"),
        (PPO, "--training.name", "a\u202eb"),
        (PPO, "--training.name", "  "),
        (PPO, "--training.output-dir", "a\nb"),
        (PPO, "--logger.project", "a\0b"),
        (PPO, "--logger.group", "a\x9bb"),
        (PPO, "--logger.tags", '["a\\u0000b"]'),
        (PPO, "--viewer.host", "a\0b"),
        (PPO, "--viewer.host", "localhost:8080"),
        (PPO, "--training.distributed.coordinator-address", "here"),
        (WBT, f"{MOTION}motion-dir", '"a\\0b"'),
        (PPO, "--algo.config.gamma", "!!bool maybe"),
        (PPO, "--algo.config.gamma", "!!timestamp x"),
        (PPO, "--algo.config.gamma", "[" * 5000),
    ],
)
def test_a_value_out_of_reach_is_one_short_line(exp: str, flag: str, value: str):
    with pytest.raises(ConfigError) as caught:
        compose.load([exp, f"{flag}={value}"])
    text = str(caught.value)
    assert text.startswith(flag) and text.isprintable() and len(text) <= LONGEST


def test_the_size_is_named():
    with pytest.raises(ConfigError, match=r"num-steps-per-env: .*'1000000000'.* TB"):
        compose.load([PPO, "--algo.config.num-steps-per-env=1000000000"])


def test_large_runs_are_within_reach():
    flags = ["--training.num-envs=65536", "--algo.config.num-steps-per-env=64"]
    assert compose.load([PPO, *flags]).training.num_envs == 65536
    assert compose.load([SAC, "--training.num-envs=16384", "--algo.config.buffer-size=4096"])
    assert limits.LARGEST == 1e12


@pytest.mark.parametrize("word", ["x" * 5000, "\x1b]0;title\x07", "a\nb\rc", "\udcff\udcfe", "\u202e\u200b"])
@pytest.mark.parametrize(
    "form", ["--{}=1", "{}", "exp:{}", "--config={}", "--training.checkpoint={}", "reward:{}"]
)
def test_whatever_is_quoted_the_line_is_short_and_printable(word: str, form: str):
    try:
        compose.load(
            [PPO, form.format(word)] if "exp:" not in form and "config" not in form else [form.format(word)]
        )
    except ConfigError as error:
        assert str(error).isprintable() and len(str(error)) <= LONGEST
    else:
        assert "checkpoint" in form  # a path of any letters


def test_a_pipe_or_device_is_no_config(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(ConfigError, match="regular file"):
            compose.load(["--config", path])


@pytest.mark.parametrize("keep", [1, 0.3, 0.6, 0.9, 0.99])
def test_a_saved_config_that_was_cut_off_is_recognised(tmp_path: Path, keep: float):
    path = compose.save_yaml(compose.load([PPO]), tmp_path / "config.yaml")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: int(keep * len(lines)) - 1 if keep != 1 else -1]))
    with pytest.raises(ConfigError, match=r"config.yaml.*cut off"):
        compose.load(["--config", str(path)])


@pytest.mark.parametrize(("target", "encoding"), [("/dev/full", "utf-8"), (os.devnull, "ascii")])
def test_help_that_cannot_be_written_is_no_traceback(target: str, encoding: str):
    script = "from holosoma_jax.config import compose; compose.parse_or_exit(['--help'], 'prog', 'Größe ×')"
    with open(target, "w") as out:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONIOENCODING": encoding},
            check=False,
        )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", [f"{GROUND}obj-file-path=hill.obj", f"{GROUND}up-axis=y"])
@pytest.mark.parametrize("ground", ["terrain-locomotion-plane", "terrain-locomotion-mix"])
def test_a_mesh_asks_for_the_ground_that_loads_it(flag: str, ground: str) -> None:
    with pytest.raises(ConfigError, match=f"^{flag.partition('=')[0]}: got .*{MESH}"):
        compose.load([PPO, f"terrain:{ground}", flag])


def test_another_ground_may_be_chosen_over_a_saved_mesh() -> None:
    saved = compose.to_mapping(compose.load([PPO, MESH, f"{GROUND}obj-file-path=hill.obj"]))
    flat = compose.load(["terrain:terrain-plane"], base=saved).terrain.terrain_term
    assert (flat.mesh_type, flat.obj_file_path) == ("plane", "hill.obj")

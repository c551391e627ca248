from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import artifacts
from holosoma_jax.training.artifacts import ArtifactWriter
from tests.support import toy
from tests.support.messages import tells


class Recorder:
    """`io.video.EpisodeRecorder` without pictures: writes down what it is told."""

    def __init__(self):
        self.told: list[object] = []
        self.videos: list[Path] = []
        self.recording = False

    def due(self, iteration):
        return iteration % 10 == 0 and not self.recording

    def start(self, name):
        self.recording = True
        self.told.append(name)

    def add(self, sim, command=None, ghost=None):
        if self.recording:
            self.told.append(float(sim.joint_pos[0, 0]))

    def finish(self):
        if self.recording:
            self.told.append("end")
        self.recording = False

    def close(self):
        self.finish()
        return []


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path)


def writer(setup, run, **options):
    made = ArtifactWriter(setup, run, **options)
    made.recorder = Recorder()
    return made


def step(number: int, ends: bool):
    """Environment 0 at joint angle `number`; its episode ends or not, environment 1's always does."""
    sim = SimpleNamespace(joint_pos=np.full((2, 1), float(number)))
    return SimpleNamespace(sim=sim, reset=jnp.array([ends, True]), command=None, ghost=None)


def test_video_shows_one_whole_episode_of_the_first_environment(run):
    made = writer(toy.setup(), run)
    ends = {2, 5, 6, 9}
    for iteration in range(4):  # of three control steps each
        made.on_iteration_start(iteration)
        for number in range(3 * iteration, 3 * iteration + 3):
            made.on_step(step(number, number in ends))
    # due at iteration 0; the episode under way ends with step 2, the next one is steps 3, 4, 5
    assert made.recorder.told == ["0000000", 3.0, 4.0, 5.0, "end"]


def test_a_video_that_is_due_waits_for_the_one_under_way(run):
    made = writer(toy.setup(), run)
    made.on_iteration_start(0)
    made.on_step(step(0, True))
    made.on_iteration_start(10)  # not due while recording
    made.on_step(step(1, True))
    made.on_iteration_start(20)
    made.on_step(step(2, True))
    assert made.recorder.told == ["0000000", 1.0, "end", "0000020"]


def test_what_cannot_be_made_is_a_warning_and_the_rest_is_made(run, monkeypatch, messages):
    def refuse(*args):
        raise RuntimeError("the exporter is out of order\nand has more to say")

    monkeypatch.setattr(artifacts, "export", refuse)
    run.metrics.write_text('{"step": 1, "Train/mean_reward": 1.0, "Train/mean_episode_length": 9.0}\n')
    setup = toy.setup(toy.config(export_onnx=True))
    writer(setup, run).on_checkpoint(1, jax.random.key(0))
    assert len(messages) == 1 and tells(messages[0], "WARNING: ... the exporter is out of order")
    assert run.curve.exists()


def test_the_final_video_shows_the_learners_policy(run):
    cfg = toy.config()
    cfg = replace(cfg, logger=replace(cfg.logger, video=replace(cfg.logger.video, enabled=True)))
    setup = toy.setup(cfg)
    learner = setup.learner.init(jax.random.key(0), setup.learner_spec, cfg.algo.config)
    obs = np.ones((1, 13), np.float32)

    def film(cfg, act, show):
        show(SimpleNamespace(joint_pos=np.asarray(act(obs))), None)

    made = writer(setup, run, film=film)
    made.finish(learner)
    shown = float(setup.learner.mode(learner, obs)[0, 0])
    assert made.recorder.told == ["final", pytest.approx(shown, rel=1e-5), "end"]


def test_no_final_video_where_videos_are_off(run, messages):
    writer(toy.setup(), run, film=pytest.fail).finish(jax.random.key(0))
    assert messages == []


def test_what_is_new_is_passed_on_once(run, tmp_path):
    shared: list[Path] = []
    made = ArtifactWriter(toy.setup(), run, shared.append)
    made.recorder = Recorder()  # type: ignore[assignment]
    made.on_iteration_start(1)
    assert shared == []
    made.recorder.videos.append(tmp_path / "0000000.mp4")
    made.on_iteration_start(2)
    made.on_iteration_start(3)
    assert shared == [tmp_path / "0000000.mp4"]
    made.recorder.videos.append(tmp_path / "final.mp4")
    made.finish(None)
    assert shared[1:] == [tmp_path / "final.mp4"]

"""The terms of whole-body tracking on recorded values of holosoma, and on cases worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import Pose
from holosoma_jax import rotations
from holosoma_jax.envs.mdp import Mdp
from holosoma_jax.envs.terms.motion import observations, sampler
from holosoma_jax.envs.terms.motion import terminations as ends
from holosoma_jax.envs.terms.motion.config import SamplerConfig
from holosoma_jax.envs.terms.motion.reference import ASSET, MOTION, Motion, align
from holosoma_jax.envs.view import View
from holosoma_jax.motion.batch import Clips, Frames
from tests.support import tracking
from tests.support.shared import shared_arrays, shared_path
from tests.support.traces import wxyz


def close(ours: Any, theirs: Any, atol: float = 2e-6) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-5, atol=atol)


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return shared_arrays("pure/wbt_step")


@pytest.fixture(scope="module")
def preset() -> Mdp:
    return tracking.setup().env.mdp


@pytest.fixture(scope="module")
def view(recorded: dict[str, np.ndarray], preset: Mdp) -> View:
    """The recorded states: environment i is in frame i of a clip that holds their reference states."""
    d, count, k = recorded, len(recorded["env_origins"]), len(recorded["tracked_body_indexes"])
    still = np.zeros((count, 3), np.float32)
    frames = Frames(
        joint_pos=d["motion/joint_pos"],
        joint_vel=d["motion/joint_vel"],
        root_pos=d["motion/root_pos_w"] - d["env_origins"],
        root_quat=wxyz(d["motion/root_quat_w"]),
        root_lin_vel=still,
        root_ang_vel=still,
        body_pos=d["motion/body_pos_w"] - d["env_origins"][:, None],
        body_quat=wxyz(d["motion/body_quat_w"]),
        body_lin_vel=d["motion/body_lin_vel_w"],
        body_ang_vel=d["motion/body_ang_vel_w"],
    )
    clips = Clips(
        jax.tree.map(jnp.asarray, frames),
        np.zeros(1, np.int32),
        np.array([count], np.int32),
        np.zeros(count, np.int32),
    )
    before: Motion = preset.scene.assets[ASSET]
    motion = replace(before, clips=clips, names=("recorded",), weights=np.ones(1))
    scene = replace(preset.scene, num_envs=count, assets={ASSET: motion})
    whole = replace(preset, scene=scene)
    states = whole.example_states()
    states["commands"][MOTION] = states["commands"][MOTION].replace(
        frame=jnp.arange(count, dtype=jnp.int32),
        target_pos=jnp.asarray(d["aligned/body_pos"]),
        target_quat=jnp.asarray(wxyz(d["aligned/body_quat"])),
    )
    sim = whole.rest(states).sim
    rows = d["tracked_body_indexes"]
    assert list(rows) == list(motion.rows) and k == len(motion.bodies)
    history = d["robot/contact_forces_history"]
    strongest = np.linalg.norm(history, axis=-1).argmax(1)
    root = d["robot/root_state"]
    sim = sim._replace(
        root_pos=root[:, :3],
        root_quat=wxyz(d["robot/base_quat"]),
        root_lin_vel=root[:, 7:10],
        root_ang_vel=root[:, 10:13],
        joint_pos=d["robot/dof_pos"],
        joint_vel=d["robot/dof_vel"],
        body_pos=sim.body_pos.at[:, rows].set(d["robot/body_pos_w"]),
        body_quat=sim.body_quat.at[:, rows].set(wxyz(d["robot/body_quat_w"])),
        body_lin_vel=sim.body_lin_vel.at[:, rows].set(d["robot/body_lin_vel_w"]),
        body_ang_vel=sim.body_ang_vel.at[:, rows].set(d["robot/body_ang_vel_w"]),
        contact_force=np.take_along_axis(history, strongest[:, None, :, None], axis=1)[:, 0],
    )
    return replace(
        whole.rest(states),
        sim=jax.tree.map(jnp.asarray, sim),
        action=jnp.asarray(d["robot/action"]),
        prev_action=jnp.asarray(d["robot/prev_action"]),
        episode_step=jnp.asarray(d["robot/episode_length"], jnp.int32),
        origin=jnp.asarray(d["env_origins"]),
    )


def test_rewards(view: View, recorded: dict[str, np.ndarray], preset: Mdp) -> None:
    for name, term in preset.rewards.items():
        close(term.apply(view, ())[0], recorded[f"rew_raw/{name}"], atol=1e-5)


@pytest.mark.parametrize(("variant", "height_only"), [("z_only", True), ("full3d", False)])
def test_terminations(view: View, recorded: dict[str, np.ndarray], variant: str, height_only: bool) -> None:
    names = tracking.END_EFFECTORS
    term = ends.bad_tracking(bad_motion_body_pos_body_names=names, height_only=height_only)
    np.testing.assert_array_equal(term.apply(view, ())[0], recorded[f"term/{variant}/total"])
    errors = ends.errors(view, names, height_only)
    for part, limit in {"bad_ref_pos": 0.5, "bad_ref_ori": 0.8, "bad_motion_body_pos": 0.25}.items():
        np.testing.assert_array_equal(np.asarray(errors[part]) > limit, recorded[f"term/{variant}/{part}"])
    total = recorded[f"term/{variant}/total"]
    assert total.any() and not total.all()


def test_observations(view: View, recorded: dict[str, np.ndarray]) -> None:
    for name in (
        "motion_command",
        "motion_ref_pos_b",
        "motion_ref_ori_b",
        "robot_body_pos_b",
        "robot_body_ori_b",
    ):
        close(observations.TERMS[name](view), recorded[f"obs/{name}"], atol=1e-4)


@pytest.mark.parametrize("anchor", ["anchor", "root"])
def test_alignment(view: View, recorded: dict[str, np.ndarray], anchor: str) -> None:
    """With 'root', of all environments, the fresh ones included; without, of those that are not fresh."""
    motion = tracking.setup(f"anchor_after_reset={anchor}").env.mdp.commands[MOTION]
    assert motion.refresh is not None
    state = motion.refresh(view, view.commands[MOTION])
    going = recorded["robot/episode_length"] > 0
    rows = np.ones_like(going) if anchor == "root" else going
    assert going.any() and not going.all()
    close(np.asarray(state.target_pos)[rows], recorded["aligned/body_pos"][rows], atol=1e-4)
    ours, theirs = np.asarray(state.target_quat)[rows], wxyz(recorded["aligned/body_quat"][rows])
    np.testing.assert_allclose(np.abs((ours * theirs).sum(-1)), 1.0, atol=1e-5)


def test_alignment_by_hand() -> None:
    """Figures worked out in float64: the yaw of the relative rotation is 0.685199489 rad."""
    ref = ([1.0, 2.0, 0.8], [-0.032152273, 0.045671619, 0.150440055, 0.987040082])
    robot = ([1.2, 1.7, 0.75], [0.071718682, -0.006305512, 0.480284406, 0.874153053])
    body = ([1.3, 2.1, 0.4], [0.307130526, 0.035055873, -0.217762572, 0.925754497])

    def arrays(pose: tuple[list[float], list[float]]) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(pose[0])[None], jnp.asarray(wxyz(np.array(pose[1])), jnp.float32)[None]

    pos, quat = align(*arrays(ref), *arrays(robot), *(x[:, None] for x in arrays(body)))
    close(pos[0, 0], [1.369005097, 1.967277528, 0.4])
    close(quat[0, 0], wxyz(np.array([0.277504921, 0.136195055, 0.10588789, 0.94510829])))
    relative = rotations.multiply(rotations.conjugate(arrays(robot)[1]), arrays(ref)[1])
    wanted = [0.750609036, 0.6335766, -0.655583188, 0.749531163, -0.082442457, -0.191790845]
    close(rotations.two_columns(relative)[0], wanted)


@pytest.mark.parametrize("case", ["k1", "k3", "long"])
def test_sampler_of_holosoma(case: str) -> None:
    """60 control steps of failures: counts, averages, probabilities, frames."""
    whole = shared_arrays("pure/wbt_adaptive_sampler")
    d = {k.split("/")[1]: v for k, v in whole.items() if k.startswith(f"{case}/")}
    facts = SAMPLERS[case]
    cfg = SamplerConfig(bins="global", kernel_size=facts["kernel_size"])
    where = sampler.bins(np.array([facts["frames"]]), np.ones(1), cfg, 0.02)
    assert len(where.base) == d["bin_failed"].shape[1]
    failures = jnp.zeros(len(where.base))
    for row, frames in enumerate(d["failed_frames"]):
        counted = sampler.count(where, jnp.asarray(np.maximum(frames, 0)), jnp.asarray(frames >= 0))
        close(counted, d["current_counts"][row])
        failures = sampler.fold(failures, counted, cfg)
        close(failures, d["bin_failed"][row], atol=1e-9)
        close(sampler.probabilities(failures, where, cfg), d["probabilities"][row])
    found = sampler.statistics(sampler.probabilities(failures, where, cfg))
    close(
        [found["entropy"], found["top1_prob"], found["top1_bin"]], d["final_stats_entropy_top1prob_top1bin"]
    )
    frames = sampler.frame_in(where, jnp.asarray(d["sampled_bins"]), jnp.asarray(d["sample_uniform"]))
    np.testing.assert_array_equal(frames, d["sampled_frames"])


SAMPLERS = {
    "k1": {"frames": 325, "kernel_size": 1},
    "k3": {"frames": 325, "kernel_size": 3},
    "long": {"frames": 1013, "kernel_size": 5},
}


def test_bins_of_a_clip_do_not_cross_its_ends() -> None:
    lengths, weights = np.array([120, 49, 300]), np.array([1.0, 1.0, 0.5])
    where = sampler.bins(lengths, weights, SamplerConfig(), 0.02)
    assert len(where.base) == 3 + 1 + 7
    np.testing.assert_array_equal(np.bincount(where.of_frame, minlength=11)[3], 49)
    assert np.diff(where.of_frame).min() >= 0 and where.of_frame[119] == 2 and where.of_frame[120] == 3
    close(where.base.sum(), 1.0)
    close(where.base[4:].sum() / where.base[:3].sum(), 300 * 0.5 / 120)


def test_uniform_share_cap_and_sum() -> None:
    """However many failures one bin has, a tenth of the starts is uniform, and no bin gets over 200 times the mean."""
    cfg, many = SamplerConfig(), 1000
    where = sampler.bins(np.full(many, 40), np.ones(many), cfg, 0.02)
    p = np.asarray(sampler.probabilities(jnp.zeros(many).at[7].set(1e6), where, cfg))
    close(p.sum(), 1.0)
    assert p[7] <= 200.0 / many * 1.005
    assert np.delete(p, 7).min() >= 0.1 / many
    few = sampler.bins(np.full(4, 40), np.ones(4), cfg, 0.02)
    close(sampler.probabilities(jnp.asarray([0.0, 3.0, 1.0, 0.0]), few, cfg), [0.025, 0.7, 0.25, 0.025])
    close(sampler.probabilities(jnp.zeros(4), few, cfg), np.full(4, 0.25))


def test_chosen_bins_follow_the_probabilities() -> None:
    p = jnp.asarray([0.5, 0.0, 0.25, 0.25])
    unit = jnp.asarray((np.arange(1000) + 0.5) / 1000, jnp.float32)
    np.testing.assert_array_equal(np.bincount(sampler.choose(p, unit)), [500, 0, 250, 250])


def test_future_stops_at_the_end(view: View) -> None:
    """The first of five frames 0.1 s apart is `motion_command` five frames on; beyond the end, the last frame."""
    count = view.scene.num_envs
    future = np.asarray(observations.motion_future(view, frames=5, dt=0.1)).reshape(count, 5, -1)
    clip = view.scene.assets[ASSET].clips.frames
    close(future[10, 0, :29], clip.joint_pos[15])
    close(future[count - 2, :, :29], np.tile(clip.joint_pos[count - 1], (5, 1)))
    past = np.asarray(observations.motion_past(view, frames=2, dt=0.1)).reshape(count, 2, -1)
    close(past[10, 1, 29:58], clip.joint_vel[0])


def test_noise_of_the_start(preset: Mdp, view: View) -> None:
    """The pose is the clip's plus the noise; joints stay within their soft limits; the others keep theirs."""
    command, scene = preset.commands[MOTION], view.scene
    assert command.place is not None and command.draw is not None
    draws = command.draw(jax.random.key(3), scene)
    ones = {k: jnp.ones_like(x) for k, x in draws["noise"].items()}
    count = scene.num_envs
    frames = jnp.arange(count, dtype=jnp.int32)
    state = view.commands[MOTION].replace(start=frames, replaced=frames == 5)
    nothing = Pose(*(jnp.zeros((count, n)) for n in (3, 4, 3, 3, 29, 29)))
    mask, pose = command.place(view, frames == 2, nothing, state, draws | {"noise": ones})
    np.testing.assert_array_equal(np.flatnonzero(mask), [2, 5])
    clip = scene.assets[ASSET].clips.frames
    close(pose.root_pos - view.origin - clip.root_pos, np.tile([0.05, 0.05, 0.01], (count, 1)), atol=2e-5)
    close(pose.root_lin_vel - clip.root_lin_vel, np.tile([0.5, 0.5, 0.2], (count, 1)))
    lower, upper = (np.asarray(x) for x in view.soft_limits)
    close(pose.joint_pos, np.clip(np.asarray(clip.joint_pos) + 0.1, lower, upper))
    delta = rotations.multiply(pose.root_quat, rotations.conjugate(clip.root_quat))
    turn = [np.cos(0.05), np.sin(0.05)]
    x, y, z = (
        np.array([c, *(s * np.eye(3)[i])])
        for i, (c, s) in enumerate([turn, turn, [np.cos(0.1), np.sin(0.1)]])
    )
    wanted = rotations.multiply(jnp.asarray(z), rotations.multiply(jnp.asarray(y), jnp.asarray(x)))
    close(jnp.abs(delta @ wanted.astype(jnp.float32)), np.ones(count), atol=1e-5)


def test_figures_of_the_sampler_file() -> None:
    """The settings above are those that the recorded file was made with."""
    facts = json.loads(shared_path("golden/pure/meta.json").read_text())["wbt_adaptive_sampler"]["config"]
    for case, ours in SAMPLERS.items():
        assert (facts[case]["total_frames"], facts[case]["kernel_size"]) == (
            ours["frames"],
            ours["kernel_size"],
        )

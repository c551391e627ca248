"""The recorded tracking run of holosoma: its states, its clip as far as it was visited, its draws."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import Ground, SimState
from holosoma_jax import robots
from holosoma_jax.config import compose
from holosoma_jax.config.schema.terrain import SpawnConfig
from holosoma_jax.envs.compose import compose as compose_env
from holosoma_jax.envs.env import Env
from holosoma_jax.envs.state import Draws, TaskState
from holosoma_jax.envs.tasks.tracking import TASK, motion_config
from holosoma_jax.envs.terms.motion.command import FrameDraw
from holosoma_jax.envs.terms.motion.reference import ASSET, MOTION, Motion, MotionState
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.motion.batch import Clips, Frames
from tests.support.shared import shared_arrays, shared_path
from tests.support.traces import Recorded, wxyz

PARITY = {
    "sampler.bins": "global",
    "anchor_after_reset": "root",
}
"""Switches of the motion command to holosoma's behaviour; all others of the preset are the same."""


@dataclass(frozen=True)
class TrackingTrace(Recorded):
    """A tracking run, with its clip."""

    def env(self) -> Env:
        """Our environment, with the recorded origins and clip."""
        origins = self.data["const/env_origins"][:, None]
        kinds = np.full(origins.shape[:2], "flat")
        ground = Terrain(Ground(), origins, kinds, SpawnConfig(randomize_tiles=False))
        env = compose_env(self.cfg, self.robot, ground, self.bridge, assets={ASSET: self.motion()})
        return env._replace(task=TASK)

    def motion(self) -> Motion:
        """The frames that the run visited; the others are zero."""
        d, settings = self.data, motion_config(self.cfg)
        tracked, anchor = settings.bodies_of(self.robot)
        length = int(d["const/motion_end_idx"][0])
        times = np.concatenate([d["pre/time_steps"][:1], d["post/time_steps"]])
        bodies = {
            "body_pos": d["motion/body_pos_w"] - d["const/env_origins"][None, :, None],
            "body_quat": wxyz(d["motion/body_quat_w"]),
            "body_lin_vel": d["motion/body_lin_vel_w"],
            "body_ang_vel": d["motion/body_ang_vel_w"],
        }
        recorded = {
            "joint_pos": d["motion/joint_pos"],
            "joint_vel": d["motion/joint_vel"],
            **bodies,
            **{k.replace("body", "root"): v[:, :, 0] for k, v in bodies.items()},
        }
        frames = {}
        for name, values in recorded.items():
            frames[name] = np.zeros((length, *values.shape[2:]), np.float32)
            frames[name][times] = values
        clips = Clips(
            Frames(**{name: jnp.asarray(x) for name, x in frames.items()}),
            start=np.zeros(1, np.int32),
            length=np.array([length], np.int32),
            clip=np.zeros(length, np.int32),
        )
        return Motion(
            clips=clips,
            names=("recorded",),
            weights=np.ones(1),
            bodies=tracked,
            anchor=tracked.index(anchor),
            rows=self.robot.body_index(*tracked),
        )

    def sim(self, stage: str) -> SimState:
        """Simulator states [T, N, ...] of 'pre' (after physics) or 'post' (after resets and pushes).

        Bodies are those of 'pre' in both: holosoma does not recompute them at a reset.
        """
        d = self.data
        state = {
            k: d[f"pre/{k}"].copy()
            for k in ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "dof_pos", "dof_vel")
        }
        if stage == "post":
            steps, envs = d["event/index"].T
            for k, values in state.items():
                values[steps, envs] = d[f"event/{k}"]
        rows = d["const/tracked_body_indexes"]
        bodies = {}
        for name, width in (("pos", 3), ("quat", 4), ("lin_vel", 3), ("ang_vel", 3)):
            whole = np.zeros((self.steps, self.envs, self.robot.num_bodies, width), np.float32)
            values = d[f"pre/robot_body_{name}_w"]
            whole[:, :, rows] = wxyz(values) if name == "quat" else values
            bodies[name] = whole
        return SimState(
            root_pos=state["root_pos"],
            root_quat=wxyz(state["root_quat"]),
            root_lin_vel=state["root_lin_vel"],
            root_ang_vel=state["root_ang_vel"],
            joint_pos=state["dof_pos"],
            joint_vel=state["dof_vel"],
            body_pos=bodies["pos"],
            body_quat=bodies["quat"],
            body_lin_vel=bodies["lin_vel"],
            body_ang_vel=bodies["ang_vel"],
            contact_force=self._force(),
        )

    def _force(self) -> np.ndarray:
        """[T, N, B, 3] N: of the three recorded physics steps, the one with the largest force on the body."""
        history = self.data["pre/contact_forces_history"]
        strongest = np.linalg.norm(history, axis=-1).argmax(2)
        return np.take_along_axis(history, strongest[:, :, None, :, None], axis=2)[:, :, 0]

    def draws(self, example: Draws) -> Draws:
        """What holosoma drew, [T, N, ...]: frames and push intervals; `example` (one step) elsewhere."""
        d = self.data
        whole = jax.tree.map(lambda x: np.broadcast_to(x, (self.steps, *x.shape)), example.terms)
        whole["commands"][MOTION] = whole["commands"][MOTION] | {
            "reset": self._frame_draw(d["afterreset/time_steps"]),
            "clip_end": self._frame_draw(d["post/time_steps"]),
        }
        seconds = d["post/push_interval_s"] / np.float32(self.facts["dt"])
        whole["randomization"]["push_randomizer_state"] = {
            "interval": np.floor(seconds).astype(np.int32),
            "velocity": np.zeros((self.steps, self.envs, 6), np.float32),
        }
        offset = np.zeros((self.steps, self.envs, 2), np.float32)
        return Draws(whole, jnp.asarray(offset), jnp.zeros((self.steps, 2), jnp.uint32))

    def _frame_draw(self, frame: np.ndarray) -> FrameDraw:
        """The draw of the sampler that gives these frames [T, N]."""
        probability = self.data["pre/sampling_prob"].astype(np.float64)
        bins, total = probability.shape[1], int(self.data["const/motion_end_idx"][0])
        chosen = frame * bins // total
        middle = np.cumsum(probability, 1) - 0.5 * probability
        within = (frame + 0.5) * bins / total - chosen
        unit = np.take_along_axis(middle, chosen, 1)
        return FrameDraw(*(jnp.asarray(x, jnp.float32) for x in (unit, within, np.ones(frame.shape))))

    def start(self, env: Env) -> TaskState:
        """The state just before the first recorded step."""
        d = self.data
        state, _ = env.init(jax.random.key(0))
        terms = {kind: dict(own) for kind, own in state.terms.items()}
        motion: MotionState = terms["commands"][MOTION]
        terms["commands"][MOTION] = motion.replace(
            frame=jnp.asarray(d["pre/time_steps"][0], jnp.int32),
            target_pos=jnp.asarray(d["aligned/body_pos_relative"][0]),
            target_quat=jnp.asarray(wxyz(d["aligned/body_quat_relative"][0])),
            failures=jnp.asarray(d["pre/bin_failed_count"][0]),
            counted=jnp.asarray(d["pre/current_bin_failed_count"][0]),
        )
        push = terms["randomization"]["push_randomizer_state"]
        interval = np.floor(d["pre/push_interval_s"][0] / np.float32(self.facts["dt"])).astype(np.int32)
        terms["randomization"]["push_randomizer_state"] = push.replace(
            counter=jnp.asarray(d["pre/push_counter"][0]), interval=jnp.asarray(interval)
        )
        bias = d["const/default_dof_pos_per_env"] - d["const/default_dof_pos_base"]
        terms["randomization"]["setup_dof_pos_bias"] = jnp.asarray(bias)
        terms["curriculum"]["average_episode_tracker"] = jnp.asarray(d["pre/avg_episode_length"][0])
        tile = np.stack([np.arange(self.envs), np.zeros(self.envs)], 1).astype(np.int32)
        return state.replace(
            episode_step=jnp.asarray(d["pre/episode_length"][0] - 1),
            action=jnp.asarray(d["pre/prev_action"][0]),
            tile=jnp.asarray(tile),
            terms=terms,
        )


def load() -> TrackingTrace:
    """The recorded run, with the preset's settings, noise off; skips if absent."""
    name = "trace_g1_wbt_ppo"
    data = shared_arrays(name)
    facts = json.loads(shared_path(f"golden/{name}.json").read_text())
    window = facts["num_compute_average_epl"] * 4096.5 / facts["num_envs"]
    key = "--command.setup-terms.motion-command.params.motion-config."
    cfg = compose.load(
        [
            "exp:g1-29dof-wbt",
            "--observation.groups.actor-obs.enable-noise=False",
            f"--training.num-envs={facts['num_envs']}",
            # here the average remembers 1000 episodes whatever the number of environments
            f"--curriculum.setup-terms.average-episode-tracker.params.num-compute-average-epl={window}",
            *(f"{key}{name.replace('_', '-')}={value}" for name, value in PARITY.items()),
        ]
    )
    return TrackingTrace(data, facts, cfg, robots.configure(robots.load(cfg.robot.asset), cfg.robot))


def batched(trace: TrackingTrace, env: Env) -> Any:
    """`env.mdp` for all recorded steps as one batch of environments."""
    count = trace.steps * trace.envs
    return replace(env.mdp, scene=replace(env.mdp.scene, num_envs=count))

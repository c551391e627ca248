"""What is to be known of a clip before training on it: feet, limits, speeds, stored bodies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.kinematics import Skeleton

CONTACT_HEIGHT = 0.02
"""m over the clip's own ground, the median of the lower foot's height, below which a foot stands"""
LIMIT_MARGIN = 0.01
"""rad by which limits may be passed without a word"""


class Worst(NamedTuple):
    """The joint that is furthest beyond a limit."""

    joint: str
    value: float
    frame: int
    frames: int
    """number of frames in which any joint is beyond its limit"""


class Report(NamedTuple):
    """Figures of one clip; lengths in m, angles in rad, speeds per second."""

    name: str
    robot: str
    format: str
    reading: str
    why: str
    notes: tuple[str, ...]
    fps: float
    frames: int
    duration: float
    """s that playing it takes, each frame for 1 / fps"""
    root_height: tuple[float, float]
    """lowest, highest"""
    path_length: float
    """of the root over the ground"""
    foot_clearance: tuple[float, float]
    """lowest point of the left and of the right foot over all frames"""
    foot_slide: float
    """median horizontal speed of feet that stand, by their height"""
    airborne: float
    """share of frames in which no foot stands"""
    limits: Worst | None
    """beyond the range by more than `LIMIT_MARGIN`"""
    soft_limits: Worst | None
    """beyond the soft range, in which tracking tasks penalise joints"""
    speed: Worst | None
    """beyond the joint's rated speed"""
    peak_speed: Worst
    """the fastest joint; `frames` is 0"""
    terrain: str | None
    """the mesh on which the clip was made; None: the plane, or not in the file"""
    stored: dict[str, float]
    """differences of stored from computed bodies: see `agreement.agreement`; empty if none are stored"""


def inspect(clip: Clip, skeleton: Skeleton) -> Report:
    """Figures of `clip`, which is of the skeleton's robot."""
    robot = skeleton.robot
    clearance = skeleton.clearance(clip.body_pos, clip.body_quat)
    feet = [rows[0] for rows in skeleton.feet]
    stands = clearance < np.median(clearance.min(1)) + CONTACT_HEIGHT
    speed = np.linalg.norm(clip.body_lin_vel[:, feet, :2], axis=-1)
    middle, half = (
        0.5 * (robot.joint_upper + robot.joint_lower),
        0.5 * (robot.joint_upper - robot.joint_lower),
    )
    offset = np.abs(clip.joint_pos - middle)
    joint_speed = np.abs(clip.joint_vel)
    t, j = np.unravel_index(int(joint_speed.argmax()), joint_speed.shape)
    return Report(
        name=clip.name,
        robot=clip.robot,
        format=clip.provenance.format,
        reading=clip.provenance.reading,
        why=clip.provenance.why,
        notes=clip.provenance.notes,
        fps=clip.fps,
        frames=clip.num_frames,
        duration=clip.num_frames / clip.fps,
        root_height=(float(clip.root_pos[:, 2].min()), float(clip.root_pos[:, 2].max())),
        path_length=float(np.linalg.norm(np.diff(clip.root_pos[:, :2], axis=0), axis=1).sum()),
        foot_clearance=(float(clearance[:, 0].min()), float(clearance[:, 1].min())),
        foot_slide=float(np.median(speed[stands])),
        airborne=float(1.0 - stands.any(1).mean()),
        limits=_worst(robot.joint_names, offset - half, LIMIT_MARGIN),
        soft_limits=_worst(robot.joint_names, offset - robot.soft_limit_factor * half, LIMIT_MARGIN),
        speed=_worst(robot.joint_names, joint_speed - robot.velocity_limit, 0.0),
        peak_speed=Worst(robot.joint_names[j], float(joint_speed[t, j]), int(t), 0),
        terrain=clip.terrain,
        stored=clip.provenance.stored,
    )


def as_json(report: Report) -> dict[str, Any]:
    """`report` as plain lists, dicts and numbers."""
    document = report._asdict()
    for key in ("limits", "soft_limits", "speed", "peak_speed"):
        document[key] = document[key] and document[key]._asdict()
    return document


def rows(report: Report) -> list[tuple[str, str]]:
    """(quantity, text with its unit) for a table."""
    low, high = report.root_height
    left, right = report.foot_clearance
    fastest = report.peak_speed
    out = [
        ("format", f"{report.format} ({report.reading})" if report.reading else report.format),
        ("because", report.why),
        *(("note", note) for note in report.notes),
        ("robot", report.robot),
        ("ground", report.terrain or ""),
        ("frames", f"{report.frames} at {report.fps:g} fps, {report.duration:.2f} s"),
        ("root height", f"{low:.3f} to {high:.3f} m; way {report.path_length:.2f} m"),
        ("lowest foot point", f"left {left:+.3f} m, right {right:+.3f} m; --ground moves the lower one to 0"),
        ("standing feet", f"slide at {report.foot_slide:.3f} m/s (median); none in {report.airborne:.0%} of frames"),
        ("joint limits", _beyond(report.limits, "rad")),
        ("soft limits", _beyond(report.soft_limits, "rad")),
        ("joint speed", f"{fastest.joint} {fastest.value:.1f} rad/s at frame {fastest.frame}"),
        ("rated speed", _beyond(report.speed, "rad/s")),
    ]  # fmt: skip
    if report.stored:
        out.append(("stored bodies", "; ".join(f"{k} {v:.4f} off" for k, v in report.stored.items())))
    return [(name, text) for name, text in out if text]


def _worst(joints: tuple[str, ...], beyond: np.ndarray, margin: float) -> Worst | None:
    t, j = np.unravel_index(int(beyond.argmax()), beyond.shape)
    if beyond[t, j] <= margin:
        return None
    return Worst(joints[j], float(beyond[t, j]), int(t), int((beyond.max(1) > margin).sum()))


def _beyond(worst: Worst | None, unit: str) -> str:
    if worst is None:
        return "kept in every frame"
    return f"{worst.joint} beyond by {worst.value:.3f} {unit} at frame {worst.frame}; {worst.frames} frames"

"""Which reading of a file is right: every plausible one is put through forward kinematics and measured.

A joint order, a quaternion order or a unit that is wrong turns the robot over, lifts it off the ground
or lets its feet slide; and bodies that the file stores lie elsewhere. The one reading that fits is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import rotations
from holosoma_jax.motion.formats.raw import Raw, StoredBodies
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.motion.readings.candidates import (
    Labels,
    Reading,
    all_labels,
    body_rows,
    coordinates,
    joint_maps,
)

SAMPLED_PAIRS = 100
"""pairs of neighbouring frames that a reading is measured on, spread over the clip"""
BODY_TOLERANCE = 0.03
"""m, mean distance of stored from computed bodies; other revisions of the G1's model differ by 0.01"""
GROUND_TOLERANCE = 2.5
"""limit of `Figures.ground`; right readings of the files in docs/motions.md lie below 1.4"""
CLOSE_FACTOR, CLOSE_OFFSET = 2.0, 0.25
"""a fitting reading that is worse than this line over the best one's figure is no rival to it"""
LEVEL, SPREAD, SLIDE, EXCESS, TILT = 0.15, 0.1, 0.75, 0.2, 1.0
"""m, m, m/s, rad, 1: what adds 1 to `Figures.ground`"""
SPREAD_CAP = 1.5
"""what `spread` adds at most: jumps and stairs lift a robot that is read rightly, too"""


DEGREES = 20.0
"""rad, excess of the best reading from which angles are taken for degrees"""


class Figures(NamedTuple):
    """What forward kinematics says of a reading; the lower, the better."""

    level: float
    """m, median height of the lowest point over the ground at 0"""
    spread: float
    """m, between the 5th and the 95th percentile of that height"""
    slide: float
    """m/s, median horizontal speed of the lowest point"""
    excess: float
    """rad, mean over frames of the sum by which joints leave their ranges"""
    tilt: float
    """1 - mean z component of the root's up axis: 0 upright, 2 upside down"""
    bodies: float | None
    """m, mean distance of stored from computed bodies; None if the file stores none"""
    local: bool
    """the stored bodies say nothing of the root"""

    @property
    def ground(self) -> float:
        """Weighted sum of the figures of ground contact."""
        return (
            abs(self.level) / LEVEL
            + min(self.spread / SPREAD, SPREAD_CAP)
            + self.slide / SLIDE
            + self.excess / EXCESS
            + self.tilt / TILT
        )

    @property
    def cost(self) -> float:
        """`ground`, and the distance of stored bodies against its tolerance."""
        return self.ground + (self.bodies or 0.0) / BODY_TOLERANCE

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against the reading."""
        if self.bodies is not None and not self.bodies <= BODY_TOLERANCE:
            return False
        return (self.bodies is not None and not self.local) or self.ground <= GROUND_TOLERANCE

    def text(self) -> str:
        """As messages show them."""
        parts = [f"stored bodies {self.bodies:.3f} m off"] if self.bodies is not None else []
        parts += [
            f"lowest point at {self.level:+.2f} m, spread {self.spread:.2f} m, sliding {self.slide:.2f} m/s",
            f"limits exceeded by {self.excess:.2f} rad",
        ]
        return ", ".join(parts)


class Recognised(NamedTuple):
    """The reading that was taken, and what is to be said about it."""

    reading: Reading
    figures: Figures
    why: str
    notes: tuple[str, ...]
    measured: tuple[tuple[Labels, Figures], ...]
    """every reading that was tried"""


def recognise(
    raw: Raw,
    skeleton: Skeleton,
    *,
    joint_order: str | None = None,
    quaternion: str | None = None,
    units: str | None = None,
) -> Recognised:
    """The one reading of `raw` that fits `skeleton`'s robot.

    Args:
      raw: a file's content.
      skeleton: of the robot.
      joint_order: 'robot' or 'isaac'; None: found.
      quaternion: 'wxyz' or 'xyzw'; None: found.
      units: of `Raw.units`; None: found.

    Raises:
      ConfigError: the joints are not the robot's, or no reading fits, or several do.
    """
    choices = {"joint_order": joint_order, "quaternion": quaternion, "units": units}
    maps, notes = joint_maps(raw, skeleton)
    open_readings = [
        labels
        for labels in all_labels(raw, maps)
        if all(v in (None, getattr(labels, k)) for k, v in choices.items())
    ]
    if not open_readings:
        raise ConfigError(_no_such_choice(raw, maps, choices))
    frames = _sampled(len(raw.root_pos))
    measured: list[tuple[Labels, Figures, np.ndarray]] = []
    for labels in open_readings:
        part = coordinates(raw, skeleton, labels, maps[labels.joint_order], frames)
        measured.append((labels, _measure(raw, skeleton, labels, part, frames), part))
    fitting = _distinct(_close_to_best([m for m in measured if m[1].fits]))
    if len(measured) == 1:
        labels, figures, _ = measured[0]
        if not figures.fits and not (any(choices.values()) or raw.commanded):
            raise ConfigError(
                f"{raw.file}: {raw.format}: its one reading ({labels.text()}) does not fit: {figures.text()}."
            )
        if not figures.fits:
            whose = "the file's one reading" if raw.commanded else "the reading that was asked for"
            notes = (*notes, f"{whose} does not fit: {figures.text()}")
        why = f"{figures.text()}; the only reading"
    elif len(fitting) == 1 or (fitting and raw.conventional and _best(fitting)[0] == open_readings[0]):
        if len(fitting) > 1:  # a robot that stands still all the time
            notes = (*notes, "another reading fits almost as well; the format's own convention decided")
        labels, figures, _ = _best(fitting)
        others = [m for m in measured if m[0] != labels]
        next_best = min(others, key=lambda m: m[1].cost, default=None)
        why = figures.text()
        if next_best is not None:
            why += f"; next best: {next_best[0].text()}: {next_best[1].text()}"
    else:
        raise ConfigError(_undecided(raw, fitting or measured, bool(fitting)))
    columns = maps[labels.joint_order]
    qpos = coordinates(raw, skeleton, labels, columns, np.arange(len(raw.root_pos)))
    rows = {} if raw.bodies is None else body_rows(raw.bodies, skeleton, labels.body_order)
    tried = tuple((labels, figures) for labels, figures, _ in measured)
    return Recognised(Reading(labels, qpos, columns, rows), figures, why, (*raw.notes, *notes), tried)


def _measure(raw: Raw, skeleton: Skeleton, labels: Labels, qpos: np.ndarray, frames: np.ndarray) -> Figures:
    """`frames` come in pairs of neighbours (or are one frame)."""
    pos, quat = skeleton.poses(qpos)
    heights, points = skeleton.heights(pos, quat)
    first = np.arange(0, len(frames) - 1, 2) if len(frames) > 1 else np.zeros(0, int)
    rows = np.arange(len(frames))
    body = heights.argmin(1)
    lowest = heights[rows, body]
    slide = 0.0
    if first.size:
        here = _world(pos, quat, first, body[first], points[first, body[first]])
        there = _world(pos, quat, first + 1, body[first], points[first, body[first]])
        slide = float(np.median(np.linalg.norm((there - here)[:, :2], axis=1)) * (raw.fps or 30.0))
    joints, robot = qpos[:, 7:], skeleton.robot
    excess = np.maximum(joints - robot.joint_upper, robot.joint_lower - joints).clip(0.0).sum(1).mean()
    up = rotations.rotate(quat[:, 0], np.broadcast_to([0.0, 0.0, 1.0], (len(pos), 3)))[:, 2]
    return Figures(
        level=float(np.median(lowest)),
        spread=float(np.subtract(*np.percentile(lowest, [95, 5]))),
        slide=slide,
        excess=float(excess),
        tilt=float(1.0 - up.mean()),
        bodies=body_distance(raw.bodies, skeleton, labels.body_order, pos, quat, frames),
        local=raw.bodies is not None and raw.bodies.local,
    )


def body_distance(
    stored: StoredBodies | None,
    skeleton: Skeleton,
    order: str,
    pos: np.ndarray,
    quat: np.ndarray,
    frames: np.ndarray,
) -> float | None:
    """Mean distance m of stored from computed body origins, over the bodies that both have."""
    if stored is None:
        return None
    rows = body_rows(stored, skeleton, order)
    bodies = [skeleton.robot.body_names.index(n) for n in rows]
    if len(bodies) < 2:
        return None
    computed = pos[:, bodies]
    if stored.local:
        back = rotations.conjugate(quat[:, :1])
        computed = rotations.rotate(np.broadcast_to(back, (*computed.shape[:2], 4)), computed - pos[:, :1])
    there = stored.pos[frames][:, list(rows.values())]
    return float(np.linalg.norm(there - computed, axis=-1).mean())


def _world(
    pos: np.ndarray, quat: np.ndarray, t: np.ndarray, body: np.ndarray, point: np.ndarray
) -> np.ndarray:
    return pos[t, body] + rotations.rotate(quat[t, body], point)


def _sampled(frames: int) -> np.ndarray:
    """Up to `SAMPLED_PAIRS` pairs (t, t + 1), spread evenly."""
    if frames == 1:
        return np.zeros(1, int)
    first = np.unique(np.linspace(0, frames - 2, min(SAMPLED_PAIRS, frames - 1)).astype(int))
    return np.stack([first, first + 1], 1).reshape(-1)


def _best(found: list[tuple[Labels, Figures, np.ndarray]]) -> tuple[Labels, Figures, np.ndarray]:
    return min(found, key=lambda m: m[1].cost)


def _close_to_best(
    found: list[tuple[Labels, Figures, np.ndarray]],
) -> list[tuple[Labels, Figures, np.ndarray]]:
    """Those that may be told apart from the best one by noise only."""
    if not found:
        return found
    limit = CLOSE_FACTOR * min(m[1].cost for m in found) + CLOSE_OFFSET
    return [m for m in found if m[1].cost <= limit]


def _distinct(found: list[tuple[Labels, Figures, np.ndarray]]) -> list[tuple[Labels, Figures, np.ndarray]]:
    """Readings that differ in coordinates; the first of those that do not."""
    distinct: list[tuple[Labels, Figures, np.ndarray]] = []
    for item in found:
        if not any(np.allclose(_canonical(item[2]), _canonical(other[2]), atol=1e-3) for other in distinct):
            distinct.append(item)
    return distinct


def _canonical(qpos: np.ndarray) -> np.ndarray:
    out = qpos.copy()
    out[:, 3:7] *= np.where(out[:, 3:4] < 0.0, -1.0, 1.0)
    return out


def _undecided(raw: Raw, candidates: list[tuple[Labels, Figures, np.ndarray]], several: bool) -> str:
    shown = sorted(candidates, key=lambda m: m[1].cost)[:3]
    listed = "; ".join(f"{labels.text()}: {figures.text()}" for labels, figures, _ in shown)
    differing = [
        f for f in ("joint_order", "quaternion", "units") if len({getattr(m[0], f) for m in candidates}) > 1
    ]
    flags = " and ".join(f"--{f.replace('_', '-')}" for f in differing) or "--joint-order"
    state = "several readings fit" if several else "no reading fits the ground at height 0"
    decide = f"Decide with {flags}."
    if min(figures.excess for _, figures, _ in candidates) > DEGREES:
        decide = "Its angles look like degrees; convert them to radians."
    return f"{raw.file}: {raw.format}: {state}. {listed}. {decide}"


def _no_such_choice(raw: Raw, maps: Mapping[str, dict[str, int]], wanted: Mapping[str, str | None]) -> str:
    allowed = {"joint_order": tuple(maps), "quaternion": raw.quaternion, "units": raw.units}
    key = next(k for k, v in wanted.items() if v is not None and v not in allowed[k])
    return f"{raw.file}: --{key.replace('_', '-')} {wanted[key]}: {raw.format} has {', '.join(allowed[key])} only."

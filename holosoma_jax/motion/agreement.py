"""Stored against computed: how far a file's own bodies and velocities are from those of our model."""

from __future__ import annotations

import numpy as np

from holosoma_jax.motion import rotations
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.formats.raw import Raw
from holosoma_jax.motion.readings.candidates import Reading, orientation


def agreement(raw: Raw, reading: Reading, clip: Clip) -> dict[str, float]:
    """Differences by quantity, of what the file stores beside root and joints; empty if it stores nothing.

    Body positions (mean and greatest, m) and orientations (mean, rad) over the bodies that both have;
    root mean squares of body linear (m/s) and angular (rad/s) and of joint velocities (rad/s). Files that
    store velocities of centres of mass, as BeyondMimic and holosoma do, differ from ours in the linear ones.
    """
    differences: dict[str, float] = {}
    bodies = raw.bodies
    if bodies is not None and len(reading.rows) > 1:
        ours = [clip.body_names.index(n) for n in reading.rows]
        theirs = list(reading.rows.values())
        pos, quat = clip.body_pos[:, ours], clip.body_quat[:, ours]
        if bodies.local:
            back = np.broadcast_to(rotations.conjugate(clip.root_quat[:, None]), quat.shape)
            pos = rotations.rotate(back, pos - clip.root_pos[:, None])
        off = np.linalg.norm(bodies.pos[:, theirs] - pos, axis=-1)
        differences |= {"position (mean, m)": float(off.mean()), "position (greatest, m)": float(off.max())}
        if bodies.quat is not None:
            stored = orientation(bodies.quat[:, theirs], reading.labels.quaternion)
            differences["orientation (mean, rad)"] = float(rotations.distance(stored, quat).mean())
        if bodies.lin_vel is not None:
            differences["linear velocity (rms, m/s)"] = _rms(
                bodies.lin_vel[:, theirs] - clip.body_lin_vel[:, ours]
            )
        if bodies.ang_vel is not None:
            differences["angular velocity (rms, rad/s)"] = _rms(
                bodies.ang_vel[:, theirs] - clip.body_ang_vel[:, ours]
            )
    if raw.joint_vel is not None and reading.columns:
        ours = [clip.joint_names.index(n) for n in reading.columns]
        differences["joint velocity (rms, rad/s)"] = _rms(
            raw.joint_vel[:, list(reading.columns.values())] - clip.joint_vel[:, ours]
        )
    return differences


def _rms(x: np.ndarray) -> float:
    """Root mean square of the vectors' lengths, or of the numbers."""
    return float(np.sqrt(np.mean(np.sum(x**2, -1)) if x.ndim == 3 else np.mean(x**2)))

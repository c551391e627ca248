"""Clips on level ground: what the feet, the body and the arms do, for any robot with two legs and two arms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from holosoma_jax.motion.generation import body, curves
from holosoma_jax.motion.generation.body import FPS, Posture
from holosoma_jax.motion.generation.limbs import Limbs
from holosoma_jax.motion.generation.steps import LEFT, RIGHT, Stepper, Steps

DOWN, FORE_DOWN = body.UPPER_AT_EASE, body.FORE_AT_EASE
FORWARD = (1.0, 0.15, 0.3)
BEND = 0.02
"""m that the root is lowered before steps, so that no leg is stretched"""


def squat(limbs: Limbs) -> tuple[Steps, Posture]:
    """Two squats with the arms stretched forward."""
    scale, plan = start(limbs)
    plan.stand(8.0)
    steps, time, ease = finish(plan)
    depth = 0.18 * scale
    keys = [(0.8, 0.0), (2.2, 1.0), (2.8, 1.0), (4.0, 0.0), (4.4, 0.0), (5.6, 1.0), (6.2, 1.0), (7.4, 0.0)]
    down = curves.between(time, keys)
    arms = [(t, FORWARD if v else DOWN) for t, v in keys]  # chest leans: level is above its x
    fore = [(t, (1.0, 0.0, 0.4) if v else FORE_DOWN) for t, v in keys]
    return steps, ease._replace(
        drop=depth * down, pitch=0.32 * down, **both(time, [(0.0, DOWN), *arms], [(0.0, FORE_DOWN), *fore])
    )


def side_steps(limbs: Limbs) -> tuple[Steps, Posture]:
    """Four steps to the left, four back, arms lifted to the side that is stepped to."""
    scale, plan = start(limbs)
    y, width, swing, rest = 0.0, 0.11 * scale, 0.38, 0.1
    plan.stand(0.9)
    for direction in (1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0):
        y += direction * width
        lead, follow = (LEFT, RIGHT) if direction > 0 else (RIGHT, LEFT)
        for side in (lead, follow):
            plan.step_body(side, 0.0, y, 0.0, swing, 0.05 * scale)
            plan.stand(rest)
        plan.stand(0.14)
    plan.stand(0.9)
    steps, time, ease = finish(plan)
    half = plan.seconds / 2
    lifted: list[tuple[float, object]] = [(0.3, 0.0), (1.2, 1.0), (half - 0.3, 1.0), (half + 0.6, 0.0)]
    mirrored = [(plan.seconds - t, v) for t, v in reversed(lifted)]
    arms = {}
    for side, keys in ((LEFT, lifted), (RIGHT, mirrored)):
        arms[side] = (
            [(t, (0.35, 0.9, -0.35) if v else DOWN) for t, v in keys],
            [(t, (0.55, 0.7, 0.25) if v else FORE_DOWN) for t, v in keys],
        )
    return steps, ease._replace(drop=bent(time, scale), **_arms(time, arms))


def turn_in_place(limbs: Limbs) -> tuple[Steps, Posture]:
    """A full turn to the left, 30 degrees with each foot, arms a little out."""
    scale, plan = start(limbs)
    plan.stand(0.9)
    for k in range(12):
        yaw = (k + 1) * np.pi / 6.0
        for side in (LEFT, RIGHT):
            plan.step_body(side, 0.0, 0.0, yaw, 0.4, 0.045 * scale)
            plan.stand(0.14)
    plan.stand(0.9)
    steps, time, ease = finish(plan)
    out = [
        (0.2, DOWN),
        (1.2, (0.2, 0.6, -0.8)),
        (plan.seconds - 1.2, (0.2, 0.6, -0.8)),
        (plan.seconds - 0.1, DOWN),
    ]
    fore = [(t, FORE_DOWN if v is DOWN else (0.8, 0.3, -0.3)) for t, v in out]
    return steps, ease._replace(drop=bent(time, scale), **both(time, out, fore))


def arm_waves(limbs: Limbs) -> tuple[Steps, Posture]:
    """Waves with the right hand, then with the left, then with both."""
    scale, plan = start(limbs)
    plan.stand(12.0)
    steps, time, ease = finish(plan)
    arms = {}
    for side, spans in ((RIGHT, ((0.8, 4.0), (8.0, 11.2))), (LEFT, ((4.4, 7.6), (8.0, 11.2)))):
        upper, fore = [(0.0, DOWN)], [(0.0, FORE_DOWN)]
        for first, last in spans:
            upper += [
                (first, DOWN),
                (first + 0.7, (0.3, 1.0, 0.15)),
                (last - 0.7, (0.3, 1.0, 0.15)),
                (last, DOWN),
            ]
            fore += [(first, FORE_DOWN), (first + 0.35, (0.9, 0.4, 0.1))]
            waves = np.arange(first + 0.7, last - 0.6, 0.3)
            fore += [(t, (0.3, 0.55, 1.0) if i % 2 else (0.3, -0.35, 1.0)) for i, t in enumerate(waves)]
            fore += [(last - 0.3, (0.9, 0.4, 0.1)), (last, FORE_DOWN)]
        arms[side] = upper, fore
    sway = curves.between(
        time, [(0.8, 0.0), (1.6, 1.0), (3.6, 1.0), (5.2, -1.0), (7.2, -1.0), (8.4, 0.0), (12.0, 0.0)]
    )
    return steps, ease._replace(
        drop=bent(time, scale), roll=-0.04 * sway, twist=0.25 * sway, **_arms(time, arms)
    )


def walk_circle(limbs: Limbs) -> tuple[Steps, Posture]:
    """Once round a circle to the left, the arms swinging against the legs."""
    scale, plan = start(limbs)
    radius, stride = 0.85 * scale, 0.19 * scale
    count = int(np.ceil(2.0 * np.pi * radius / stride))
    plan.stand(1.0)
    for k in range(1, count + 2):
        angle = 2.0 * np.pi * min(k, count) / count
        # each foot lands half a stride ahead of the body, but the last two, which stop beside each other
        at = angle if k >= count else angle + 0.5 * 2.0 * np.pi / count
        side = LEFT if k % 2 else RIGHT
        x, y = radius * np.sin(at), radius * (1.0 - np.cos(at))
        plan.step_body(side, x, y, at, 0.44, 0.055 * scale)
        plan.stand(0.1)
    plan.stand(1.0)
    steps, time, ease = finish(plan)
    return steps, ease._replace(
        drop=bent(time, scale, 1.5), pitch=0.03 * np.ones(len(time)), **_swinging(steps)
    )


def dance(limbs: Limbs) -> tuple[Steps, Posture]:
    """Twenty seconds at 120 beats a minute: bounce, step-touch, half turn, sway, half turn, dip and pose."""
    scale, plan = start(limbs)
    beat = 0.5
    swing, lift = 0.36, 0.05 * scale

    def move(side: int, x: float, y: float, yaw: float) -> None:
        plan.step_body(side, x, y, yaw, swing, lift)
        plan.stand(beat - swing)

    plan.stand(4 * beat)
    for y in (0.11, 0.0, -0.11, 0.0):  # beats 4 to 12
        lead, follow = (LEFT, RIGHT) if y > 0 or (y == 0.0 and plan._foot[:, 1].mean() < 0) else (RIGHT, LEFT)
        move(lead, 0.0, y * scale, 0.0)
        move(follow, 0.0, y * scale, 0.0)
    for k in range(4):  # beats 12 to 20: half a turn
        for side in (LEFT, RIGHT):
            move(side, 0.0, 0.0, (k + 1) * np.pi / 4.0)
    plan.stand(8 * beat)  # 20 to 28
    for k in range(4):  # 28 to 36: the other half
        for side in (LEFT, RIGHT):
            move(side, 0.0, 0.0, np.pi + (k + 1) * np.pi / 4.0)
    plan.stand(4 * beat)
    steps, time, ease = finish(plan)
    count = time / beat
    inside = bent(time, 1.0) / BEND
    bounce = (
        0.5 * (1.0 - np.cos(2.0 * np.pi * count)) * curves.between(count, [(0, 0), (1, 1), (36, 1), (37, 0)])
    )
    dip = curves.between(count, [(36.0, 0.0), (37.2, 1.0), (38.2, 0.0)])
    drop = scale * (BEND * inside + 0.018 * bounce + 0.14 * dip)
    beats = range(41)
    swayed = curves.between(
        count, [(20, 0), *((b + 0.5, 1.0 if b % 2 else -1.0) for b in range(20, 27)), (28, 0)]
    )
    twist = curves.between(
        count, [(b, 0.0 if b < 1 or 12 <= b <= 20 or b >= 28 else (0.3 if b % 2 else -0.3)) for b in beats]
    )
    steps = steps._replace(weight=np.clip(steps.weight + 0.3 * swayed[:, None] * [1.0, -1.0], 0.0, 1.0))
    return steps, ease._replace(
        drop=drop,
        roll=-0.05 * swayed,
        pitch=0.2 * dip,
        twist=twist,
        **_arms(time, {side: _dance_arm(side, beat) for side in (LEFT, RIGHT)}),
    )


def start(limbs: Limbs) -> tuple[float, Stepper]:
    """Size of the robot against the G1's, and its feet at ease."""
    return body.height_at_ease(limbs) / 0.757, Stepper(FPS, body.stance_width(limbs))


def finish(plan: Stepper) -> tuple[Steps, np.ndarray, Posture]:
    """The steps that were planned, the time [T] s of their frames, and a body at ease."""
    steps = plan.steps(0.22)
    return steps, np.arange(len(steps.yaw)) / FPS, body.at_ease(len(steps.yaw))


def bent(time: np.ndarray, scale: float, times: float = 1.0) -> np.ndarray:
    """The drop with which steps are taken: in over the first 0.7 s, out over the last."""
    end = time[-1]
    return times * BEND * scale * curves.between(time, [(0.0, 0.0), (0.7, 1.0), (end - 0.7, 1.0), (end, 0.0)])


def _arms(time: np.ndarray, keys: Mapping[int, tuple[body.Keys, body.Keys]]) -> dict[str, np.ndarray]:
    both = [[body.arm(time, side, keys[side][part]) for side in (LEFT, RIGHT)] for part in (0, 1)]
    return {"upper": np.stack(both[0], 1), "fore": np.stack(both[1], 1)}


def both(time: np.ndarray, upper: body.Keys, fore: body.Keys) -> dict[str, np.ndarray]:
    """Fields of a `Posture`: both arms through the same keys."""
    return _arms(time, {LEFT: (upper, fore), RIGHT: (upper, fore)})


def _swinging(steps: Steps) -> dict[str, np.ndarray]:
    """Each arm swings with the foot of the other side."""
    heading = curves.smooth(steps.yaw.mean(1), 6.0)
    ahead = np.stack([np.cos(heading), np.sin(heading)], 1)
    offset = np.einsum(
        "tkd,td->tk", steps.place[..., :2] - steps.place[..., :2].mean(1, keepdims=True), ahead
    )
    swing = curves.smooth(2.2 * offset[:, ::-1], 5.0)
    count = len(swing)
    ease = body.at_ease(count)
    upper, fore = ease.upper.copy(), ease.fore.copy()
    upper[..., 0] += swing
    fore[..., 0] += 1.2 * swing
    return {
        "upper": upper / np.linalg.norm(upper, axis=-1, keepdims=True),
        "fore": fore / np.linalg.norm(fore, axis=-1, keepdims=True),
    }


def _dance_arm(side: int, beat: float) -> tuple[body.Keys, body.Keys]:
    """Directions at beats; the two sides alternate where they do not move together."""
    upper: list[tuple[float, tuple[float, float, float]]] = [(0.0, DOWN)]
    fore: list[tuple[float, tuple[float, float, float]]] = [(0.0, FORE_DOWN)]

    def at(b: float, u: tuple[float, float, float], f: tuple[float, float, float]) -> None:
        upper.append((b * beat, u))
        fore.append((b * beat, f))

    ready, punch = (0.55, 0.45, -0.8), (1.0, 0.2, -0.2)
    for b in range(1, 4):  # punches to the beat, left and right in turn
        mine = (b + side) % 2 == 0
        at(b, punch if mine else ready, (1.0, 0.0, 0.15) if mine else (0.9, 0.0, 0.35))
    for b in range(4, 12):  # open at the step, closed at the touch
        opened = b % 2 == 0
        at(b + 0.5, (0.2, 1.0, -0.15) if opened else ready, (0.3, 1.0, 0.15) if opened else (0.8, -0.35, 0.4))
    at(13.0, (0.55, 0.85, 0.1), (0.5, 0.8, 0.4))
    at(14.0, (0.3, 0.6, 0.8), (0.2, 0.25, 1.0))
    at(18.5, (0.3, 0.6, 0.8), (0.2, 0.25, 1.0))
    at(19.5, (0.6, 0.8, 0.1), (0.7, 0.7, 0.2))
    for b in range(20, 28):  # a wave from side to side
        high = (b + side) % 2 == 0
        at(
            b + 0.5,
            (0.35, 0.9, 0.3) if high else (0.3, 0.9, -0.45),
            (0.4, 0.4, 0.9) if high else (0.6, 0.7, -0.3),
        )
    at(29.0, (0.9, 0.5, -0.1), (0.8, -0.4, 0.4))
    at(35.0, (0.9, 0.5, -0.1), (0.8, -0.4, 0.4))
    at(37.2, ready, (0.9, 0.0, 0.2))
    raised = side == LEFT
    at(
        38.6,
        (0.3, 0.6, 0.8) if raised else (0.2, 0.8, -0.55),
        (0.2, 0.3, 1.0) if raised else (0.5, -0.3, -0.6),
    )
    at(
        40.0,
        (0.3, 0.6, 0.8) if raised else (0.2, 0.8, -0.55),
        (0.2, 0.3, 1.0) if raised else (0.5, -0.3, -0.6),
    )
    return upper, fore

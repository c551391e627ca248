"""The text of docs/results.md, from what `benchmarks.results` has found: a pure function."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HEAD = """# Results

This page is made by `python -m benchmarks.results`; the numbers are in `results.json`, and for each shipped policy in
`holosoma_jax/pretrained/NAME/record.json`. What the columns mean: [evaluation](evaluation.md#what-is-measured).
`NAME.onnx` is the file that `python -m holosoma_jax.export --checkpoint pretrained:NAME --output NAME.onnx` writes.
"""
MODELS = """A row named after a folder has
[another model of the robot](evaluation.md#another-model-of-the-robot-as-physics) as physics; foot slip is the ankle's
there.
"""
NONE = "No policy is shipped yet, and no curve has been drawn."
SWEEP = ("survive", "forward m/s", "left m/s", "yaw rad/s", "drift m/s", "drift rad/s", "slip m/s", "action rad/s",
         "power W")  # fmt: skip
ERRORS = {
    "lin_vel_error": "velocity error, m/s",
    "yaw_rate_error": "yaw rate error, rad/s",
    "foot_slip": "foot slip, m/s",
    "mpkpe": "body position error, m",
    "anchor_error": "anchor error, m",
    "joint_rms": "joint error, rad",
    "power": "power, W",
}
"""Measures of the overview, where a task has them."""


def page(data: Mapping[str, Any]) -> str:
    """The whole page, of ``{"curves": {title: ...}, "policies": {name: ...}}``."""
    parts = [HEAD]
    if not data["curves"] and not data["policies"]:
        parts.append(f"{NONE}\n")
    if data["policies"]:
        parts += ["## Policies in the package\n", "\n".join(_overview(data["policies"])), ""]
        parts += [text for name, policy in data["policies"].items() for text in _policy(name, policy)]
    if data["curves"]:
        parts.append("## Learning curves\n")
        parts += [_curve(title, curve) for title, curve in data["curves"].items()]
    return "\n".join(parts).rstrip() + "\n"


def slug(title: str) -> str:
    """`title` as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _overview(policies: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, policy in policies.items():
        record = policy["record"]
        survival = [f"{found['scores']['survival_rate']:.0%}" for found in record["scores"].values()]
        samples = "not recorded" if record["samples"] is None else f"{record['samples'] / 1e6:.1f} M"
        took = f"{record['training_s'] / 60:.0f} min"
        rows.append(
            [f"`pretrained:{name}`", record["learner"], str(record["seed"]), samples, took, *survival]
        )
    modes = next(iter(policies.values()))["record"]["scores"]
    yield table(["policy", "learner", "seed", "samples", "training", *(f"survive, {m}" for m in modes)], rows)


def _policy(name: str, policy: Mapping[str, Any]) -> Iterator[str]:
    record = policy["record"]
    yield f"### {name}\n"
    if "film" in policy:
        yield f"![{name} in motion](images/{policy['film']})\n"
    commands = "\n".join(record["commands"])
    yield f"Trained at commit {record['commit']}, {record['machine']}, {record['cores']} cores:\n"
    yield f"```\n{commands}\n```\n"
    clean = record["scores"]["clean"]
    if clean["scores"]["groups"]:
        yield f"`{clean['command']}`:\n"
        yield (
            table(["command", *SWEEP], [_sweep_row(*item) for item in clean["scores"]["groups"].items()])
            + "\n"
        )
    yield "The same policy elsewhere, undisturbed:\n"
    yield _places(policy["places"]) + "\n"
    yield "\n".join(f"- {label}: `{found['command']}`" for label, found in policy["places"].items()) + "\n"
    if any("--robot.asset" in found["command"] for found in policy["places"].values()):
        yield MODELS
    if "plot" in policy:
        yield f"![Velocity commanded and measured](images/{policy['plot']})\n"


def _sweep_row(name: str, group: Mapping[str, Any]) -> list[str]:
    first = group["first"]
    linear = [value for value in (first.get("drift_x"), first.get("drift_y")) if value is not None]
    drift = math.hypot(*linear) if linear else None
    reached = [first.get(key) for key in ("lin_vel_x", "lin_vel_y", "yaw_rate")]
    rest = [first.get(key) for key in ("drift_yaw", "foot_slip", "action_rate", "power")]
    return [name, f"{group['survival_rate']:.0%}", *map(_number, (*reached, drift, *rest))]


def _places(places: Mapping[str, Any]) -> str:
    names = [
        n for n in ERRORS if any(found["scores"]["first"].get(n) is not None for found in places.values())
    ]
    rows = [
        [
            label,
            str(found["num_envs"]),
            f"{found['scores']['survival_rate']:.1%}",
            *(_number(found["scores"]["first"].get(name)) for name in names),
        ]
        for label, found in places.items()
    ]
    return table(["simulator", "robots", "survive", *(ERRORS[name] for name in names)], rows)


def _curve(title: str, curve: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, curve["seeds"]))
    return (
        f"### {title}\n\n![{title}](images/{curve['picture']})\n\n"
        f"`python -m holosoma_jax.train {curve['command']} --training.seed N`\nfor seeds {seeds}; commit "
        f"{curve['commit']}, {curve['machine']}, {curve['cores']} cores.\n"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"

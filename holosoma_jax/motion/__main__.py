"""`python -m holosoma_jax.motion`: look at motion clips, convert them, make some.

::

    python -m holosoma_jax.motion inspect dance.csv --sheet dance.png
    python -m holosoma_jax.motion convert clips/ --output converted --ground
    python -m holosoma_jax.motion generate squat dance --robot g1
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holosoma_jax import runtime
from holosoma_jax.config.command_line import flags
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.motion.command_line.flags import ConvertArgs, GenerateArgs, InspectArgs

if TYPE_CHECKING:
    from holosoma_jax.motion.clip import Clip

PROG = "python -m holosoma_jax.motion"
SUBCOMMANDS = {
    "inspect": (
        InspectArgs,
        "Says what a motion file holds, how it was recognised, and what is wrong with it.",
    ),
    "convert": (ConvertArgs, "Writes motion files, or folders of them, as holosoma's or mjlab's npz."),
    "generate": (
        GenerateArgs,
        "Makes clips of our own: squat, side_steps, turn_in_place, arm_waves, walk_circle, dance.",
    ),
}
_BOOLS = frozenset({"true", "false", "1", "0", "yes", "no"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: done. 2: the arguments are wrong, or a file is faulty. 130: Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    runtime.prepare()

    def body() -> int:
        if not argv or argv[0] in ("-h", "--help"):
            print(_usage())
            return 0 if argv else 2
        name, rest = argv[0], argv[1:]
        if name not in SUBCOMMANDS:
            raise ConfigError(
                f"{name}: is no subcommand.{nearest(name, SUBCOMMANDS)} Subcommands: {', '.join(SUBCOMMANDS)}."
            )
        record, about = SUBCOMMANDS[name]
        files, options = split(rest, record)
        args = flags.parse_or_exit(options, f"{PROG} {name} FILE ...", about, record)
        from holosoma_jax.motion.command_line import command  # imports MuJoCo: not for --help

        if isinstance(args, InspectArgs):
            return command.run_inspect(args, files, draw)
        if isinstance(args, ConvertArgs):
            return command.run_convert(args, files)
        assert isinstance(args, GenerateArgs)
        return command.run_generate(args, files)

    return runtime.command(body, "interrupted")


def split(argv: Sequence[str], record: type) -> tuple[list[str], list[str]]:
    """Files, and flags as ``--flag=value``; a switch takes no value unless 'true' or 'false' follows."""
    switches = {f.name for f in dataclasses.fields(record) if f.type in ("bool", bool)}
    files: list[str] = []
    options: list[str] = []
    rest = list(argv)
    while rest:
        first = rest.pop(0)
        if not first.startswith("-"):
            files.append(first)
            continue
        is_switch = first.removeprefix("--").replace("-", "_") in switches
        bare = not rest or rest[0].startswith("--") or (is_switch and rest[0].lower() not in _BOOLS)
        if "=" in first or first in ("-h", "--help") or bare:
            options.append(first)
        else:
            options.append(f"{first}={rest.pop(0)}")
    return files, options


def draw(clip: Clip, path: Path) -> Path:
    """A contact sheet of `clip` as the PNG `path`.

    Raises:
      ConfigError: this machine cannot draw.
    """
    from bridges.protocol import Ground
    from holosoma_jax import robots
    from holosoma_jax.envs import terrain
    from holosoma_jax.render import video

    robot = robots.load(clip.robot)
    trajectory = video.Trajectory(clip.root_pos, clip.root_quat, clip.joint_pos)
    if clip.has_object:
        robot = robots.with_box(robot)
        trajectory = trajectory._replace(object_pos=clip.object_pos, object_quat=clip.object_quat)
    ground = Ground()
    if clip.terrain in terrain.shipped():
        ground = terrain.build(terrain.of_mesh(clip.terrain), seed=0).ground
    try:
        return video.render_sheet(path, trajectory, robot, ground, 1.0 / clip.fps)
    except video.VideoUnavailable as error:
        raise ConfigError(f"--sheet: no picture: {error}") from None


def _usage() -> str:
    lines = [f"usage: {PROG} SUBCOMMAND FILE ... [--flags]", ""]
    lines += [f"  {name:10}{about}" for name, (_, about) in SUBCOMMANDS.items()]
    return "\n".join([*lines, "", f"Flags: {PROG} SUBCOMMAND --help"])


if __name__ == "__main__":
    sys.exit(main())

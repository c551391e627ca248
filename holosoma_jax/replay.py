"""`python -m holosoma_jax.replay FILE.npz`: look at a recorded trajectory or a motion clip.

::

    python -m holosoma_jax.eval --checkpoint RUN --record walk.npz
    python -m holosoma_jax.replay walk.npz --video
    python -m holosoma_jax.replay exp:g1-29dof-wbt --training.headless False
    python -m holosoma_jax.replay --checkpoint pretrained:g1-29dof --video
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holosoma_jax import runtime
from holosoma_jax.config import compose
from holosoma_jax.config.command_line import flags
from holosoma_jax.config.command_line.tokens import wants_help
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TerrainConfig
from holosoma_jax.config.schema.commands import ReplayArgs

PROG = "python -m holosoma_jax.replay"
ABOUT = (
    "Shows a trajectory: a recording of `eval --record`, or a motion clip of any format in docs/motions.md. "
    "The file may be given without a flag: replay walk.npz. A preset of whole-body tracking, exp:NAME, stands "
    "for its clip, and --checkpoint POLICY for what a policy does."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: shown. 2: the arguments are wrong, or the file is no trajectory. 130: Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    runtime.prepare()

    def body() -> int:
        preset = next((argument for argument in argv if argument.startswith("exp:")), None)
        terrain = None
        if preset is None or wants_help(argv):
            args = flags.parse_or_exit(with_flag(argv), PROG, ABOUT, ReplayArgs)
        else:
            args, terrain = _of_preset(preset, argv)
        if args.checkpoint is not None:
            args = replace(args, file=str(_of_policy(args)))
        from holosoma_jax.viewer import replay_session  # imports JAX: not for --help

        replay_session.run(args, terrain)
        return 0

    return runtime.command(body, "interrupted")


def with_flag(argv: Sequence[str]) -> list[str]:
    """`argv` with ``--file=`` before an argument that is a file's name and no flag's value."""

    def is_file(before: str | None, argument: str) -> bool:
        leads = before in (None, "--file")
        return not argument.startswith("-") and (leads or argument.endswith(".npz"))

    return [
        f"--file={argument}" if is_file(before, argument) else argument
        for before, argument in zip((None, *argv), argv, strict=False)
        if argument != "--file"
    ]


def _of_policy(args: ReplayArgs) -> Path:
    """The recording of what the policy of `args` does, written below its folder.

    Raises:
      ConfigError: there is no such policy, a file is given as well, or the recording cannot be written.
    """
    if args.file is not None:
        raise ConfigError(
            f"--checkpoint {args.checkpoint}: got the file {args.file} as well. Give one of them."
        )
    from holosoma_jax.evaluation import film  # imports JAX: not for --help
    from holosoma_jax.policy import policies

    source = policies.find(args.checkpoint or "", asset=args.asset)
    target = source.folder / "replay" / f"{source.path.stem}.npz"
    try:
        return film.record(source, target, args.length_s, args.velocity)
    except OSError as error:
        raise ConfigError(f"--checkpoint: cannot write {target} ({error.strerror or error}).") from None


def _of_preset(preset: str, argv: Sequence[str]) -> tuple[ReplayArgs, TerrainConfig | None]:
    """The flags in `argv`, with the clip and the robot of the config that the rest of it describes, and its ground.

    The ground is None unless it is a mesh file: tiles have no place in a clip's coordinates.

    Raises:
      ConfigError: the arguments are wrong, or the config does not name one clip.
    """
    args, rest = compose.split_extra(argv, ReplayArgs, alone=True)
    if args.file is not None:
        raise ConfigError(f"{preset}: got {args.file} as well. Give a preset or a file.")
    cfg = compose.load(rest)
    from holosoma_jax.envs.tasks import tracking  # imports JAX: not for --help

    instead = "Give a clip itself: python -m holosoma_jax.replay g1_dance"
    if tracking.MOTION not in cfg.command.setup_terms:
        raise ConfigError(f"{preset}: has no motion clip; whole-body tracking has one. {instead}")
    settings = tracking.motion_config(cfg)
    if settings.motion_dir or not settings.motion_file:
        named = f"the folder {settings.motion_dir}" if settings.motion_dir else "no motion_file"
        raise ConfigError(f"{preset}: names {named}, wanted one clip. {instead}")
    is_mesh = cfg.terrain.terrain_term.mesh_type == "load_obj"
    args = replace(args, file=settings.motion_file, asset=args.asset or cfg.robot.asset)
    return args, cfg.terrain if is_mesh else None


if __name__ == "__main__":
    sys.exit(main())

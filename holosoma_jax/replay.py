"""`python -m holosoma_jax.replay FILE.npz`: look at a recorded trajectory or a motion clip.

::

    python -m holosoma_jax.eval --checkpoint RUN --record walk.npz
    python -m holosoma_jax.replay walk.npz --video
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holosoma_jax import runtime
from holosoma_jax.config import flags
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.commands import ReplayArgs

PROG = "python -m holosoma_jax.replay"
ABOUT = (
    "Shows a trajectory: a recording of `eval --record`, or a motion clip in holosoma's format. "
    "The file may be given without a flag: replay walk.npz."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: shown. 2: the arguments are wrong, or the file is no trajectory. 130: Ctrl-C.
    """
    argv = with_flag(sys.argv[1:] if argv is None else argv)
    runtime.prepare()

    def body() -> int:
        _refuse_presets(argv)
        args = flags.parse_or_exit(argv, PROG, ABOUT, ReplayArgs)
        from holosoma_jax.viewer import replay_session  # imports JAX: not for --help

        replay_session.run(args)
        return 0

    return runtime.command(body, "interrupted")


def with_flag(argv: Sequence[str]) -> list[str]:
    """`argv` with ``--file=`` before an argument that is a file's name and no flag's value."""

    def is_file(before: str | None, argument: str) -> bool:
        leads = before in (None, "--file") and not argument.startswith("exp:")
        return not argument.startswith("-") and (leads or argument.endswith(".npz"))

    return [
        f"--file={argument}" if is_file(before, argument) else argument
        for before, argument in zip((None, *argv), argv, strict=False)
        if argument != "--file"
    ]


def _refuse_presets(argv: Sequence[str]) -> None:
    preset = next((argument for argument in argv if argument.startswith("exp:")), None)
    if preset is not None:
        raise ConfigError(
            f"{preset}: got a preset, wanted a clip or a recording. Give the preset's clip itself: "
            "python -m holosoma_jax.replay g1_dance"
        )


if __name__ == "__main__":
    sys.exit(main())

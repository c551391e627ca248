"""`python -m holosoma_jax.export`: a checkpoint's policy as an ONNX file for a robot.

::

    python -m holosoma_jax.export --checkpoint logs/locomotion/20260102_030405-g1-29dof
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holosoma_jax import runtime
from holosoma_jax.config.command_line import flags
from holosoma_jax.config.schema.commands import ExportArgs

PROG = "python -m holosoma_jax.export"
ABOUT = (
    "Writes the policy of a checkpoint as ONNX, compared with the original on random observations, and "
    "says whether holosoma's deployment program would take it."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: written. 2: the arguments are wrong, or there is no such checkpoint. 130: Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    runtime.prepare()

    def body() -> int:
        args = flags.parse_or_exit(argv, PROG, ABOUT, ExportArgs)
        from holosoma_jax.policy import session  # imports JAX: not for --help

        session.run(args)
        return 0

    return runtime.command(body, "interrupted: nothing was written")


if __name__ == "__main__":
    sys.exit(main())

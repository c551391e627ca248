"""`python -m holosoma_jax.doctor`: what this machine has, what is missing, and whether training runs.

::

    python -m holosoma_jax.doctor --json
    python -m holosoma_jax.doctor --conformance simulator:mjwarp --report mjwarp.json
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holosoma_jax import runtime
from holosoma_jax.config.command_line import flags
from holosoma_jax.config.schema.commands import DoctorArgs

PROG = "python -m holosoma_jax.doctor"
ABOUT = "Says what this machine has for training and what is missing, and trains for a moment."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: training runs here. 1: the smoke run, or a conformance check, failed. 2: the arguments are
    wrong. 130: Ctrl-C.
    """
    argv = joined(sys.argv[1:] if argv is None else argv)
    runtime.prepare()

    def body() -> int:
        args = flags.parse_or_exit(argv, PROG, ABOUT, DoctorArgs)
        from holosoma_jax.diagnostics import session  # imports JAX: not for --help

        return session.run(args)

    return runtime.command(body, "interrupted")


def joined(argv: Sequence[str]) -> list[str]:
    """`argv` with ``--conformance simulator:NAME`` as one argument: elsewhere, the second is a choice."""
    out: list[str] = []
    for argument in argv:
        if out and out[-1] == "--conformance" and argument.startswith("simulator:"):
            out[-1] += f"={argument}"
        else:
            out.append(argument)
    return out


if __name__ == "__main__":
    sys.exit(main())

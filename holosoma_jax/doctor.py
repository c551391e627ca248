"""`python -m holosoma_jax.doctor`: what this machine has, what is missing, and whether training runs.

::

    python -m holosoma_jax.doctor --json
    python -m holosoma_jax.doctor --conformance simulator:mjwarp --report mjwarp.json
    python -m holosoma_jax.doctor --conformance simulator:isaacgym --simulator.config.sim.physx.device=cpu
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holosoma_jax import runtime
from holosoma_jax.config import compose
from holosoma_jax.config.command_line import flags, tokens
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.config.schema.commands import DoctorArgs

PROG = "python -m holosoma_jax.doctor"
ABOUT = "Says what this machine has for training and what is missing, and trains for a moment."
PRESET = "exp:g1-29dof"
"""whose robot and rates --conformance takes, unless another is chosen"""
GROUPS = ("exp", "robot", "simulator")
"""Groups and sections of the config that --conformance reads."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: training runs here. 1: the smoke run, or a conformance check, failed, or MuJoCo cannot be imported. 2: the
    arguments are wrong. 130: Ctrl-C.
    """
    argv = joined(sys.argv[1:] if argv is None else argv)
    runtime.prepare()

    def body() -> int:
        args, cfg = parsed(argv)
        from holosoma_jax.diagnostics import session  # imports JAX: not for --help

        return session.run(args, cfg)

    return runtime.command(body, "interrupted")


def parsed(argv: Sequence[str]) -> tuple[DoctorArgs, Config | None]:
    """The flags, and the config whose bridge `--conformance` checks; without that flag None, and options of a config
    are refused. Prints `--help` and exits.

    Raises:
      ConfigError: the arguments are wrong.
    """
    if not tokens.wants_help(argv):
        args, rest = compose.split_extra(argv, DoctorArgs)
        if args.conformance is not None:
            given = tokens.parse(rest)
            named = [(c.group, c.raw[0]) for c in given.choices] + [
                (o.path[0], o.flag) for o in given.overrides
            ]
            for section, argument in named:
                if section not in (*GROUPS, *tokens.IMPORT_FILE, *tokens.ALLOW_CODE):
                    raise ConfigError(
                        f"{argument}: --conformance reads {', '.join(GROUPS)} alone. Leave it out."
                    )
            preset = [] if given.chosen("exp") else [PRESET]
            simulator = f"simulator:{args.conformance.removeprefix('simulator:')}"
            return args, compose.load([*preset, *rest, simulator])
    return flags.parse_or_exit(argv, PROG, ABOUT, DoctorArgs), None


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

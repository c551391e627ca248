"""A model of an iteration's time on more cores and more devices, from measured pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PIECES = ("physics", "environment", "learning")


class Line(NamedTuple):
    """Seconds of a piece on one core, as a function of the number of environments."""

    fixed: float
    """s, whatever the number: Python, starts of programs and threads"""
    each: float
    """s for each environment"""

    def seconds(self, num_envs: float, cores: float = 1.0) -> float:
        """On `cores` cores: only what grows with the environments is divided among them."""
        return self.fixed + self.each * num_envs / cores


class Messages(NamedTuple):
    """What the devices of a run send each other in an iteration."""

    number: int
    size: int
    """bytes of all, on one device"""


class Link(NamedTuple):
    """How quick a message is among all devices."""

    latency: float
    """s"""
    bandwidth: float
    """bytes/s"""

    def seconds(self, messages: Messages, devices: int) -> float:
        """A ring sends each byte twice, but for a device's own share: 2 (n - 1) / n."""
        if devices == 1:
            return 0.0
        return messages.number * self.latency + 2.0 * (devices - 1) / devices * messages.size / self.bandwidth


def line(half: float, whole: float, num_envs: int) -> Line:
    """Through the seconds for half of `num_envs` and for all; a fixed part below 0 is noise, and taken as 0."""
    fixed = min(max(0.0, 2.0 * half - whole), whole)
    return Line(fixed, (whole - fixed) / num_envs)


def lines(half: Mapping[str, float], whole: Mapping[str, float], num_envs: int) -> dict[str, Line]:
    """`line` of every piece."""
    return {name: line(half[name], whole[name], num_envs) for name in PIECES}


def on_cores(parts: Mapping[str, Line], num_envs: int, cores: int) -> dict[str, float]:
    """Seconds of each piece of an iteration in one process."""
    return {name: part.seconds(num_envs, cores) for name, part in parts.items()}


def in_processes(
    parts: Mapping[str, Line], num_envs: int, processes: int, messages: Messages, link: Link
) -> float:
    """Seconds of an iteration of `processes` with a core each, which share `num_envs` environments."""
    own = on_cores(parts, num_envs // processes, 1)
    return sum(own.values()) + link.seconds(messages, processes)


def efficiency(
    iteration: float, messages: Messages, near: Link, far: Link, devices: int, together: int
) -> float:
    """Share of an iteration in which `devices` accelerators, `together` of them a machine, do not wait for messages.

    Each has as many environments as one alone (weak scaling), and an iteration takes it `iteration` s. Within a
    machine messages take the `near` link, and beyond it what remains of them the `far` one, machine to machine.
    """
    waiting = near.seconds(messages, min(devices, together))
    waiting += far.seconds(messages, -(-devices // together))
    return iteration / (iteration + waiting)

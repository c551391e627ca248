"""Two files of `benchmarks.all`: where is the new one slower, beyond noise?

Compared is how many times longer the peer took than ours in the same round, since absolute times belong to a
machine and its load. The noise of a median is 1.86 MAD / sqrt(n): 1.25 standard errors of a normal sample
(the asymptotic one of a median), with the standard deviation as 1.48 times the median absolute deviation.
A regression is a fall by more than three times the noise of both, and by more than 2 %.

    python -m benchmarks.compare OLD.json NEW.json
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

LEAST = 0.02
"""changes of the ratio below this are not called one"""


class Change(NamedTuple):
    """One ratio in both files."""

    name: str
    old: float
    new: float
    noise: float
    """one standard error of `new / old`, relative"""

    @property
    def relative(self) -> float:
        """`new / old` - 1."""
        return self.new / self.old - 1.0

    @property
    def verdict(self) -> str:
        """Slower, quicker, or neither."""
        if abs(self.relative) <= max(LEAST, 3.0 * self.noise):
            return ""
        return "slower" if self.relative < 0 else "quicker"


def noise(values: Sequence[float]) -> float:
    """Standard error of the median over the median."""
    middle = statistics.median(values)
    spread = statistics.median(abs(x - middle) for x in values)
    return 1.86 * spread / math.sqrt(len(values)) / middle


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Every ratio that both files have."""
    for name, run in new["runs"].items():
        before = old["runs"].get(name, {}).get("times_as_quick", {})
        for peer, values in run.get("times_as_quick", {}).items():
            if peer in before:
                medians = statistics.median(before[peer]), statistics.median(values)
                yield Change(f"{name}: {peer}", *medians, math.hypot(noise(before[peer]), noise(values)))


def main() -> int:
    """Print the table; 1 if something became slower."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    args = parser.parse_args()
    old, new = (json.loads(file.read_text()) for file in (args.old, args.new))
    if old["machine"] != new["machine"]:
        print(f"other machines: {old['machine']}; {new['machine']}")
    found = list(changes(old, new))
    print(
        f"{'times as quick as the peer':<64} {old['commit']:>9} {new['commit']:>9} {'change':>8} {'noise':>7}"
    )
    for change in found:
        figures = f"{change.old:9.3f} {change.new:9.3f} {change.relative:8.1%} {change.noise:7.1%}"
        print(f"{change.name:<64} {figures}  {change.verdict}")
    for name, run in new["runs"].items():
        if reason := run.get("skipped") or run.get("failed"):
            print(f"{name}: {reason}")
    return int(any(change.verdict == "slower" for change in found))


if __name__ == "__main__":
    sys.exit(main())

"""A bridge in another process and another interpreter: shared host memory, one round trip a call."""

from bridges.remote.bridge import RemoteBridge, make

__all__ = ["RemoteBridge", "make"]

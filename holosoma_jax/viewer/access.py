"""Who may use the viewer's page: pages of the viewer itself, and nobody else's; and who its second port.

A browser lets every web page send requests to ``127.0.0.1``. Two headers, which a page's script cannot set,
tell them apart: ``Host`` is the address that the user typed (a foreign name that resolves to this machine is
DNS rebinding), and ``Origin`` is the page that a script runs in. They are checked on every HTTP request and
every WebSocket handshake. MuJoCo Studio's server checks neither, and it takes uploaded models, which are
switched off here.

Its process also talks to itself through a port of 127.0.0.1, by which the panel is drawn; there, it would take anybody
for itself. `OwnSocket` accepts no other process.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ANY = ("0.0.0.0", "::")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
CLOSED_PATHS = ("/drop",)
"""Studio's upload of models from the browser"""
HEADERS = {
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Of every response: no other page may embed the viewer or read what it serves."""


class Rule(NamedTuple):
    """Which addresses in a browser's address line are the viewer's."""

    names: frozenset[str]
    """host names and IP addresses, lower case, without brackets"""
    any_ip: bool
    """whether every IP address is accepted; one cannot be rebound to this machine"""
    port: int


def rule(host: str, port: int) -> Rule:
    """The rule of a page that is served at `host` and `port`."""
    if host in ANY:
        names = {socket.gethostname().lower(), socket.getfqdn().lower(), *LOOPBACK_NAMES}
        return Rule(frozenset(names), True, port)
    return Rule(frozenset({host.lower(), *LOOPBACK_NAMES}), False, port)


def refusal(rule: Rule, path: str, headers: Mapping[str, list[str]]) -> str | None:
    """Why a request is refused, one line; None if it is served.

    Args:
      rule: of the page.
      path: of the request.
      headers: all values of each header that came, by lower-case name.
    """
    if path.partition("?")[0] in CLOSED_PATHS:
        return "uploads are switched off"
    hosts = headers.get("host", [])
    if len(hosts) != 1 or not _is_ours(rule, hosts[0]):
        addresses = ", ".join(hosts) or "none"
        return (
            f"Host is {addresses!r}, which is not the viewer's address. Forward port {rule.port} to the same port "
            f"of your machine, or choose another with --viewer.port, and open http://localhost:{rule.port}/"
        )
    for origin in headers.get("origin", []):
        if not _same(origin, hosts[0]):
            return f"Origin is {origin!r}, a page of another site"
    site = headers.get("sec-fetch-site", ["same-origin"])[0]
    opened = headers.get("sec-fetch-dest", [""])[0] == "document"  # a link or the address line; not a frame
    if site not in ("same-origin", "none") and not opened:
        return f"the request comes from another site (Sec-Fetch-Site: {site})"
    return None


def _is_ours(rule: Rule, host: str) -> bool:
    name, port = _split(host)
    return port == rule.port and (name in rule.names or (rule.any_ip and _is_ip(name)))


def _split(host: str) -> tuple[str, int | None]:
    """Name, lower case and without brackets, and port (80 if it is left out) of a ``Host`` header."""
    if any(character in host for character in "/@?#\\ \t"):
        return "", None
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or ""), 80 if parts.port is None else parts.port
    except ValueError:
        return "", None


def _same(origin: str, host: str) -> bool:
    """Whether `origin` is the page at `host`; https where something in front of the viewer adds it."""
    scheme, separator, authority = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and authority.lower() == host.lower()


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_guarded(address: str, port: int) -> bool:
    """Whether the server at `address` and `port` refuses a request for a foreign host.

    Raises:
      OSError: nothing answers there.
    """
    connection = http.client.HTTPConnection(address, port, timeout=10.0)
    try:
        connection.request("GET", "/model", headers={"Host": f"foreign.invalid:{port}"})
        return connection.getresponse().status == 403
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def guard(serve: Callable[..., Any], rule: Rule) -> Callable[..., Any]:
    """`websockets.asyncio.server.serve`, with `rule` in front of what the server answers."""
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    def guarded(
        handler: Callable[..., Any],
        *,
        process_request: Callable[..., Any],
        process_response: Callable[..., Any],
        **settings: Any,
    ) -> Any:
        def request_checked(connection: Any, request: Any) -> Any:
            fields: dict[str, list[str]] = {}
            for name, value in request.headers.raw_items():
                fields.setdefault(name.lower(), []).append(value)
            why = refusal(rule, request.path, fields)
            if why is None:
                return process_request(connection, request)
            body = f"403: {why}.\n".encode()
            headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
            return Response(403, "Forbidden", headers, body)

        def response_closed(connection: Any, request: Any, response: Any) -> Any:
            response = process_response(connection, request, response) or response
            if "Access-Control-Allow-Origin" in response.headers:
                del response.headers["Access-Control-Allow-Origin"]
            for name, value in HEADERS.items():
                if name in response.headers:
                    del response.headers[name]
                response.headers[name] = value
            return response

        return serve(handler, process_request=request_checked, process_response=response_closed, **settings)

    return guarded


class OwnSocket(socket.socket):
    """A listening socket that accepts connections of this process alone."""

    def accept(self) -> tuple[socket.socket, Any]:
        """See `socket.socket.accept`.

        Raises:
          ConnectionAbortedError: another process has connected; it is cut off. asyncio continues to listen.
        """
        connection, peer = super().accept()
        if _is_own(connection):
            return connection, peer
        connection.close()
        raise ConnectionAbortedError(f"{peer} is a port of another process")


def own_socket(port: int = 0) -> OwnSocket:
    """A socket that listens at `port` of 127.0.0.1, 0: any, for this process."""
    listening = OwnSocket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    return listening


def _is_own(connection: socket.socket) -> bool:
    """Whether this process has the other end of `connection` open, too: no two sockets have the same two addresses."""
    with suppress(OSError):
        wanted = connection.getpeername(), connection.getsockname()
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):
                if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    continue
                with socket.socket(fileno=os.dup(int(name))) as other:
                    if (other.getsockname(), other.getpeername()) == wanted:
                        return True
    return False

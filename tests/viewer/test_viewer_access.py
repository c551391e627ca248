"""Whom the viewer's page answers: requests of its own page, over real sockets."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.viewer import access
from holosoma_jax.viewer.opening import open_viewer
from holosoma_jax.viewer.viewer import Viewer


def headers(host: str, **others: str) -> dict[str, list[str]]:
    return {"host": [host]} | {name.replace("_", "-"): [value] for name, value in others.items()}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080", "gpu3:8080", "GPU3:8080"]
)
def test_its_own_addresses_are_served(host: str):
    rule = access.rule("gpu3", 8080)
    assert access.refusal(rule, "/", headers(host)) is None
    for scheme in ("http", "https"):
        assert access.refusal(rule, "/state?sid=1", headers(host, origin=f"{scheme}://{host}")) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8080",  # resolves to 127.0.0.1 a moment later: DNS rebinding
        "evil.example",
        "localhost.evil.example:8080",
        "127.0.0.1.nip.io:8080",
        "127.0.0.1:8081",
        "localhost",
        "localhost:80800",
        "localhost:8080@evil.example:8080",
        "user@localhost:8080",
        "localhost:8080/evil",
        "192.0.2.1:8080",
        "[::1]8080",
        "[::1",
        ":8080",
        "",
        "localhost.:8080",
        "127.0.0.1.:8080",
        "127.1:8080",
        "0x7f000001:8080",
        "2130706433:8080",
        "0177.0.0.1:8080",
        "0.0.0.0:8080",
        "[::ffff:127.0.0.1]:8080",
        "[::1%25lo]:8080",
        "[::]:8080",
        "localhost:0",
        "localhost:-8080",
        "localhost:+8080",
        "localhost:8080:8080",
        "localhost:8080,evil.example",
        "localhost:8080;evil.example",
        "localhost:8080?evil.example",
        "localhost:\uff18\uff10\uff18\uff10",
        "\uff4cocalhost:8080",
        "local\0host:8080",
        "localhost:8080\0",
        "user:pass@127.0.0.1:8080",
        "7f000001.01020304.rbndr.us:8080",
        "localtest.me:8080",
        "http://localhost:8080",
        "a" * 100_000,
    ],
)
def test_other_hosts_are_refused(host: str):
    assert access.refusal(access.rule("127.0.0.1", 8080), "/model", headers(host)) is not None


def test_port_0_is_no_other_port():
    assert access.refusal(access.rule("127.0.0.1", 80), "/", headers("localhost:0")) is not None
    assert access.refusal(access.rule("127.0.0.1", 80), "/", headers("localhost")) is None


@pytest.mark.parametrize("name", ["x-forwarded-host", "forwarded", "x-host", "x-original-host", ":authority"])
def test_what_a_proxy_says_of_the_host_is_not_believed(name: str):
    rule = access.rule("127.0.0.1", 8080)
    given = headers("evil.example:8080") | {name: ["localhost:8080"]}
    assert access.refusal(rule, "/model", given) is not None
    assert access.refusal(rule, "/model", {name: ["localhost:8080"]}) is not None


def test_every_origin_that_came_has_to_be_the_page():
    rule = access.rule("127.0.0.1", 8080)
    ours = "http://localhost:8080"
    assert access.refusal(rule, "/", {"host": ["localhost:8080"], "origin": [ours, ours]}) is None
    for others in ([ours, "http://evil.example"], ["null", ours]):
        assert access.refusal(rule, "/", {"host": ["localhost:8080"], "origin": others}) is not None


def test_a_request_without_a_host_or_with_two_is_refused():
    rule = access.rule("127.0.0.1", 8080)
    assert access.refusal(rule, "/", {"host": ["localhost:8080", "localhost:8080"]}) is not None
    assert access.refusal(rule, "/", {}) is not None
    assert access.refusal(rule, "/", {"host": ["localhost:8080", "evil.example"]}) is not None


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://evil.example:8080",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8080",  # another origin than localhost:8080
        "http://localhost:8080.evil.example",
        "null",
        "file://",
        "",
        "http://localhost:8080/",
        "http://user@localhost:8080",
        "http://localhost:8080 http://evil.example",
        "http://localhost:8080#",
        "http://localhost.:8080",
        "http://[::1]:8080",
        "ws://localhost:8080",
        "chrome-extension://localhost:8080",
        "about:srcdoc",
        "localhost:8080",
        "//localhost:8080",
        "http:localhost:8080",
        "http://localhost:08080",
        "http://localhost:8080\0",
    ],
)
def test_pages_of_others_are_refused(origin: str):
    rule = access.rule("127.0.0.1", 8080)
    for path in ("/", "/model", "/state", "/ui"):
        assert access.refusal(rule, path, headers("localhost:8080", origin=origin)) is not None


@pytest.mark.parametrize(
    ("fetched", "served"),
    [
        ({"sec_fetch_site": "none", "sec_fetch_dest": "document"}, True),  # typed
        ({"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"}, True),  # a link in a chat
        ({"sec_fetch_site": "same-origin", "sec_fetch_dest": "script"}, True),
        ({"sec_fetch_site": "cross-site", "sec_fetch_dest": "iframe"}, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_dest": "image"}, False),
        ({"sec_fetch_site": "same-site", "sec_fetch_dest": "empty"}, False),
    ],
)
def test_what_another_page_embeds_is_refused(fetched: dict[str, str], served: bool):
    rule = access.rule("127.0.0.1", 8080)
    assert (access.refusal(rule, "/", headers("localhost:8080", **fetched)) is None) is served


def test_on_all_interfaces_the_machine_is_known_by_name_and_by_address():
    rule = access.rule("0.0.0.0", 8080)
    for host in (socket.gethostname(), "192.0.2.7", "[2001:db8::7]", "localhost"):
        assert access.refusal(rule, "/", headers(f"{host}:8080")) is None
    assert access.refusal(rule, "/", headers("evil.example:8080")) is not None
    assert access.refusal(rule, "/", headers("192.0.2.7:8081")) is not None


def test_uploads_are_off():
    rule = access.rule("127.0.0.1", 8080)
    for path in ("/drop", "/drop?sid=1"):
        assert access.refusal(rule, path, headers("localhost:8080")) is not None


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real viewer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        viewer: Viewer = open_viewer(
            ViewerConfig(mode="web"), robots.load("g1"), Ground(), 1, "test", print_line=lambda _: None
        )
    try:
        yield int(viewer.url.rstrip("/").rpartition(":")[2])
    finally:
        viewer.close()


def get(port: int, path: str, **given: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one HTTP request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_http_over_real_sockets(port: int):
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        for path in ("/", "/model"):
            status, given, body = get(port, path, Host=host)
            assert status == 200 and len(body) > 100
            assert "access-control-allow-origin" not in given
            assert given["x-frame-options"] == "DENY"
            assert given["cross-origin-opener-policy"] == "same-origin"  # Studio's own; its page needs it
    for given in (
        {"Host": f"evil.example:{port}"},
        {"Host": f"127.0.0.1:{port}", "Origin": "http://evil.example"},
        {"Host": f"127.0.0.1:{port}", "Origin": f"http://localhost:{port + 1}"},
    ):
        for path in ("/", "/model", "/model?total_bytes", "/index.html"):
            status, _, body = get(port, path, **given)
            assert status == 403 and len(body) < 500, (given, path)


@pytest.mark.parametrize("path", ["/state", "/ui"])
def test_web_sockets_over_real_sockets(port: int, path: str):
    where = f"ws://127.0.0.1:{port}{path}"
    for origin in (f"http://127.0.0.1:{port}", None):
        with connect(where, origin=origin, open_timeout=20):  # type: ignore[arg-type]
            pass
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
        with pytest.raises(InvalidStatus) as error:
            connect(where, origin=origin, open_timeout=20)  # type: ignore[arg-type]
        assert error.value.response.status_code == 403


def raw(port: int, request: bytes) -> bytes:
    """What the viewer answers to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:  # it closed with our bytes unread
            pass
    return answer


def test_requests_that_no_browser_sends_get_nothing(port: int):
    host = f"127.0.0.1:{port}".encode()
    requests = [
        b"GET /model HTTP/1.0\r\n\r\n",
        b"GET /model HTTP/1.1\r\n\r\n",
        b"GET /model HTTP/1.1\r\nHost: " + host + b"\r\nHost: evil.example\r\n\r\n",
        b"GET /model HTTP/1.1\r\nHost: " + host + b"\r\n Origin: x\r\n\r\n",
        b"GET http://evil.example/model HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /model HTTP/1.1\r\nX-Forwarded-Host: " + host + b"\r\nHost: evil.example\r\n\r\n",
        b"POST /drop HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 4\r\n\r\nabcd",
        b"PUT /model HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
        b"GET /model HTTP/1.1\r\nHost: " + host + b"\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /model HTTP/1.1\r\nHost: " + host + b"\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(1000),
        b"",
    ]
    for path in (
        *("/../web_server.py", "/%2e%2e/web_server.py", "/..%2fweb_server.py", "//etc/passwd", "/%00"),
        *(
            "/assets/../../web/web_server.py",
            "/..\\..\\x",
            "/./../../../../../../../etc/passwd",
            "/drop/../drop",
        ),
    ):
        requests.append(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    for request in requests:
        assert b" 200 OK" not in raw(port, request), request[:200]
    slow = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"GET / HTTP/1.1\r\nHo")
    assert get(port, "/", Host=host.decode())[0] == 200  # after all that, and beside clients that never end
    for connection in slow:
        connection.close()


def test_a_model_cannot_be_uploaded(port: int):
    with pytest.raises(InvalidStatus) as error:
        connect(f"ws://127.0.0.1:{port}/drop", origin=f"http://127.0.0.1:{port}", open_timeout=20)  # type: ignore[arg-type]
    assert error.value.response.status_code == 403


def test_the_panels_port_is_for_the_viewers_own_process():
    with access.own_socket() as listening, socket.create_server(("127.0.0.1", 0)) as another:
        listening.settimeout(20)
        address = listening.getsockname()
        with socket.create_connection(address) as own:
            connection, peer = listening.accept()
            assert peer == own.getsockname()
            connection.close()
        program = f"import socket; s = socket.create_connection({address}); assert not s.recv(1)"
        stranger = subprocess.Popen([sys.executable, "-IS", "-c", program])
        with socket.create_connection(another.getsockname()):  # to another port of this process
            pass
        with pytest.raises(ConnectionAbortedError):
            listening.accept()
        assert stranger.wait(20) == 0  # cut off


def test_a_server_without_the_guard_is_noticed():
    """Should MuJoCo Studio open its server in another way, the viewer does not start."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer(status: str) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

        for status, guarded in (("403 Forbidden", True), ("200 OK", False)):
            thread = threading.Thread(target=answer, args=(status,))
            thread.start()
            assert access.is_guarded("127.0.0.1", port) is guarded
            thread.join()

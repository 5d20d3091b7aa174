"""A server from its start to its end: under load, with slow clients, stopped, from the shell."""

import contextlib
import logging
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import mmkeras as mm
from mmkeras.cli import main
from mmkeras.server import running


def ask(client, number):
    """Asks for what only this number makes; gives the version's number."""
    rows = [{"x": [number, row], "data_bytes": f"{number} {row}"} for row in range(number % 3 + 1)]
    answer = client.post("/v1/models/echo:predict", json={"instances": rows})
    answer.raise_for_status()
    predictions = answer.json()["predictions"]
    assert [row["total"] for row in predictions] == [number + row for row in range(len(rows))]
    (version,) = {row["number"] for row in predictions}
    return version


def test_versions_switch_under_load_and_nothing_is_lost(tmp_path, echoes, write_echo, monkeypatch):
    monkeypatch.setattr(running, "POLL", 0.05)
    folder = tmp_path / "echo"
    shutil.copytree(echoes / "3", folder / "3")
    made = write_echo(tmp_path / "4")
    asked = threading.Event()

    def ask_on(client, thread):
        versions = []
        for number in range(3000):
            versions.append(ask(client, 3000 * thread + number))
            asked.set()
            if versions[-20:].count(4) == 20:
                return versions
        return versions

    with (
        mm.Server([folder], port=0, grpc_port=None) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        threads = [pool.submit(ask_on, client, thread) for thread in range(4)]
        assert asked.wait(60)
        # Slowly, as a copy over a network.
        shutil.copytree(made, folder / "4")
        for thread in threads:
            versions = thread.result(60)
            # The version never goes back.
            assert versions == sorted(versions)
            assert versions[-1] == 4
        assert client.get("/readyz").json()["models"] == {"echo": [4]}


def reachable(url):
    host, port = url.rpartition("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=10):
        return True


def test_a_server_that_is_entered_answers_grpc_at_once(echoes, monkeypatch):
    """However long gRPC takes to start, nobody is let in and then dropped."""
    pytest.importorskip("tensorflow_serving.apis")
    started = running.Server._start_grpc

    async def start_late(self):
        with pytest.raises(ConnectionRefusedError):
            reachable(self.grpc_url)
        return await started(self)

    monkeypatch.setattr(running.Server, "_start_grpc", start_late)
    server = mm.Server([echoes], port=0, grpc_port=0)
    with pytest.raises(ConnectionRefusedError):
        reachable(server.grpc_url)
    with server:
        assert reachable(server.grpc_url)
        assert reachable(server.url)


def test_a_port_that_was_taken_meanwhile_is_named(echoes):
    pytest.importorskip("tensorflow_serving.apis")
    server = mm.Server([echoes], port=0, grpc_port=0)
    port = int(server.grpc_url.rpartition(":")[2])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(OSError, match=rf"gRPC cannot listen at 127\.0\.0\.1:{port}"):
            server.__enter__()


def test_overload_is_refused_and_the_rest_is_answered(echoes):
    limits = {"batch_size": 8, "queue": 8, "batch_timeout": 0.2}
    with (
        mm.Server([echoes], port=0, grpc_port=None, **limits) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
        ThreadPoolExecutor(32) as pool,
    ):

        def status(number):
            try:
                ask(client, number)
            except httpx.HTTPStatusError as error:
                return error.response.status_code
            return 200

        statuses = set(pool.map(status, range(200)))
        assert statuses == {200, 503}
        assert ask(client, 1) == 3
        page = client.get("/monitoring/prometheus/metrics").text
    assert 'model_name="echo",status="UNAVAILABLE"' in page


def test_what_was_asked_before_the_end_is_answered(echoes):
    with mm.Server([echoes], port=0, grpc_port=None, batch_timeout=1.0) as server:
        client = httpx.Client(base_url=server.url, timeout=60)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, client, 5)
            while (
                "mmkeras:waiting_rows 3.0" not in client.get("/monitoring/prometheus/metrics").text
                and not answer.done()
            ):
                pass
            server.stop()
            assert answer.result(60) == 3
    with pytest.raises(httpx.ConnectError):
        client.get("/healthz")


def test_slow_clients_are_let_go(echoes):
    with mm.Server([echoes], port=0, grpc_port=None, request_timeout=0.3) as server:
        port = httpx.URL(server.url).port
        head = b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: localhost\r\n"
        for sent, told in [
            (b"", b""),
            (head, b""),
            (head + b"Content-Length: 9\r\n\r\n{", b"HTTP/1.1 408"),
            (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        ]:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(sent)
                received = b"".join(iter(lambda c=connection: c.recv(4096), b""))
                assert received.startswith(told)
                assert told or not received
        with httpx.Client(base_url=server.url, timeout=60) as client:
            assert ask(client, 1) == 3


def test_a_head_without_end_is_not_kept(echoes):
    with mm.Server([echoes], port=0, grpc_port=None) as server:
        port = httpx.URL(server.url).port
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
            contextlib.suppress(ConnectionError),
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 2**17)
            assert connection.recv(4096) == b""
        with httpx.Client(base_url=server.url, timeout=60) as client:
            assert ask(client, 1) == 3


def test_an_answer_that_takes_too_long_is_given_up(echoes):
    limits = {"batch_timeout": 1.0, "request_timeout": 0.2}
    with mm.Server([echoes], port=0, grpc_port=None, **limits) as server:
        row = {"x": [1.0], "data_bytes": ""}
        answer = httpx.post(f"{server.url}/v1/models/echo:predict", json={"instances": [row]})
    assert answer.status_code == 504
    assert answer.json() == {"error": "There was no answer within 0.2 s"}


@pytest.fixture
def fails(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mmkeras"), "handlers", [])

    def run(*words):
        assert main(["serve", *map(str, words)]) == 1
        *_, line = capsys.readouterr().err.splitlines()
        assert line.startswith("mmkeras: ")
        return line

    return run


def test_what_cannot_be_served_is_one_line(fails, tmp_path, echoes):
    free = ("--port", 0, "--grpc-port", 0)
    assert "should be a directory" in fails(tmp_path / "none", *free)
    shutil.copytree(echoes, tmp_path / "a" / "echo")
    assert "names of their own" in fails(echoes, tmp_path / "a" / "echo", *free)
    (tmp_path / "a" / "echo" / "3" / "saved_model.pb").unlink()
    assert "saved_model.pb is missing" in fails(tmp_path / "a" / "echo", *free)
    (tmp_path / "token").touch()
    assert "should hold a token" in fails(echoes, *free, "--token-file", tmp_path / "token")
    assert "NAME:LABEL=VERSION. Received: echo=3" in fails(echoes, *free, "--label", "echo=3")
    assert "`batch_size` should be more than 0" in fails(echoes, *free, "--batch-size", 0)
    assert "0 to 65535. Received: port=70000" in fails(echoes, "--port", 70000)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} of 127.0.0.1 is in use" in fails(echoes, "--port", port)
        line = fails(echoes, "--port", 0, "--grpc-port", port)
        assert f"Port {port} of 127.0.0.1 is in use" in line


def test_the_command_serves_until_it_is_told_to_end(echoes, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    command = [sys.executable, "-m", "mmkeras", "serve", str(echoes), "--port", "0"]
    command += ["--grpc-port", "0", "--token-file", str(tmp_path / "token")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    url = re.fullmatch(r"echo 3: (http://\S+) and grpc://127\.0\.0\.1:\d+\n", line)[1]
    secret = {"authorization": "Bearer secret"}
    row = {"x": [1.0], "data_bytes": "private"}
    answer = httpx.post(f"{url}:predict", json={"instances": [row]}, headers=secret, timeout=60)
    assert answer.status_code == 200
    assert httpx.post(f"{url}:predict", json={"instances": [row]}).status_code == 401
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "127.0.0.1 POST /v1/models/echo:predict 200" in log
    assert "private" not in log
    assert "secret" not in log
    assert "Traceback" not in log

"""A container is well when its process serves."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from infra.containers.health import NotWellError, check

UP = 'hedgerow_broker_up{link="queues"} 1.0\n'
DOWN = 'hedgerow_broker_up{link="requests"} 0.0\n'


class Page(BaseHTTPRequestHandler):
    status, text = 200, ""

    def do_GET(self) -> None:
        self.send_response(Page.status)
        self.end_headers()
        self.wfile.write(Page.text.encode())

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield str(server.server_port)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("page", [DOWN, UP + DOWN])
def test_a_service_whose_connection_is_down_lives_and_is_not_well(
    port: str, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setattr(Page, "text", page)
    check(None, metrics_port=port, without_broker=True)
    with pytest.raises(NotWellError, match="A connection to the broker does not stand"):
        check(None, metrics_port=port)


def test_a_service_whose_connections_stand_is_well(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Page, "text", UP)
    check(None, metrics_port=port)


@pytest.mark.parametrize("without_broker", [False, True])
def test_a_loop_that_tells_nothing_is_not_well(
    port: str, monkeypatch: pytest.MonkeyPatch, without_broker: bool
) -> None:
    monkeypatch.setattr(Page, "text", "# HELP hedgerow_broker_up …\n")
    with pytest.raises(NotWellError, match="tells nothing"):
        check(None, metrics_port=port, without_broker=without_broker)


@pytest.mark.parametrize("status", [200, 204])
def test_what_answers_with_no_error_is_well(port: str, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(Page, "status", status)
    check(f"http://127.0.0.1:{port}/readyz", metrics_port="")


@pytest.mark.parametrize("status", [503, 404])
def test_what_answers_with_an_error_is_not_well(port: str, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(Page, "status", status)
    with pytest.raises(NotWellError, match=f"HTTP Error {status}"):
        check(f"http://127.0.0.1:{port}/readyz", metrics_port="")


@pytest.mark.parametrize("nowhere", ["1", "", "none"])
def test_nobody_there_is_not_well(nowhere: str) -> None:
    with pytest.raises(NotWellError, match="does not answer"):
        check(None, metrics_port=nowhere)

"""A container is well when its process serves."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from infra.containers.health import why_not_well

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


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (UP, None),
        (UP + DOWN, "A connection to the broker does not stand."),
        ("# HELP hedgerow_broker_up …\n", "It does not serve yet."),
    ],
)
def test_a_service_is_well_when_its_connections_stand(
    port: str, monkeypatch: pytest.MonkeyPatch, page: str, problem: str | None
) -> None:
    monkeypatch.setattr(Page, "text", page)
    assert why_not_well(None, metrics_port=port) == problem


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (204, True), (503, False), (404, False)])
def test_what_answers_http_is_well_when_it_answers_with_no_error(
    port: str, monkeypatch: pytest.MonkeyPatch, status: int, is_well: bool
) -> None:
    monkeypatch.setattr(Page, "status", status)
    assert (why_not_well(f"http://127.0.0.1:{port}/readyz", metrics_port="") is None) == is_well


def test_nobody_there_is_not_well() -> None:
    assert "does not answer" in (why_not_well(None, metrics_port="1") or "")
    assert "does not answer" in (why_not_well(None, metrics_port="") or "")

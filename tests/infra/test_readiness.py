"""When the platform counts as ready: not before each service has answered itself."""

from functools import partial

import httpx
import pytest

from infra.launcher.failure import Failure
from infra.launcher.readiness import wait_until_ready
from infra.launcher.services import Addresses

pytestmark = pytest.mark.servers

AT = Addresses("http://edge", "http://gateway")
_STAFF = {"email": "admin@hedgerow.example", "password": "secret"}
_ALL = ("users", "catalog", "orders", "payments")


class Edge:
    """An edge whose services are away when they are asked for the first time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, staff_is_known: bool = True) -> None:
        self.asked: list[str] = []
        self._login = 200 if staff_is_known else 401
        monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=httpx.MockTransport(self)))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        is_away = self.asked.count(path) == 1
        if path == "/services":
            state = "away" if is_away else "present"
            return httpx.Response(200, json={"services": [{"name": "payments", "state": state}]})
        if is_away and path != "/healthz":
            return httpx.Response(503, json={"type": "/problems/away"})
        if path.startswith("/orders/"):
            slug = "no-such-route" if self.asked.count(path) == 2 else "no-such-order"
            return httpx.Response(404, json={"type": f"/problems/{slug}"})
        return httpx.Response(self._login if path == "/sessions" else 200, json={"access_token": "token"})


async def test_it_waits_for_an_answer_of_each_service(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(monkeypatch)
    await wait_until_ready(AT, _ALL, _STAFF, lambda: None, within=10)
    asked = {path: edge.asked.count(path) for path in edge.asked}
    assert list(asked.values()) == [1, 2, 2, 3, 2, 2]
    assert list(asked)[-1] == "/services"


async def test_who_was_left_out_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(monkeypatch)
    await wait_until_ready(AT, ("catalog", "payments"), _STAFF, lambda: None, within=10)
    assert edge.asked == ["/healthz", "/products", "/products"]


async def test_a_database_with_other_staff_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(monkeypatch, staff_is_known=False)
    await wait_until_ready(AT, _ALL, _STAFF, lambda: None, within=10)
    assert edge.asked[-1] == "/sessions"


async def test_what_stays_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Edge(monkeypatch)
    with pytest.raises(Failure, match=r"GET /\.well-known/jwks\.json gave status 503"):
        await wait_until_ready(AT, _ALL, _STAFF, lambda: None, within=0.1)

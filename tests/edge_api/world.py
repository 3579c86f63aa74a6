"""A small world around an edge without a broker: services that are said to be there, a lane that answers as told."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette

from broker.ids import new_id
from broker.lane import Answer, NobodyThereError, Request
from broker.registry import Registry
from contracts.base import RefusalKind
from contracts.presence import Bye, Cache, Hello, Manifest, Offer, Route, Saying, Stream, Who
from contracts.tokens import ALGORITHM, AUDIENCE, GENERATION_CLAIM, ISSUER, JWKS_PATH, ROLES_CLAIM, SESSION_CLAIM, TYPE
from edge_api.app import assemble
from edge_api.authentication import Authenticator
from edge_api.cache import Cache as Answers
from edge_api.capacity import Capacity
from edge_api.clients import Clients
from edge_api.keys import KeyRing, over_the_lane
from edge_api.limits import Limits, Memory, Rate
from edge_api.platform_paths import template_of
from edge_api.revocations import RevocationList, from_issuer
from edge_api.routing import Routes
from edge_api.streams import Streams

ANYTHING: dict[str, Any] = {"title": "Anything", "type": "object"}
KEYS_TOPIC = "accounts.get-keys.v1"
Reply = Answer | Exception | Callable[[Request], Awaitable[Answer]]


def offer(
    topic: str,
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
    path: str,
    *,
    status: int = 200,
    who: Who = "anyone",
    query: tuple[str, ...] = (),
    wait: str | None = None,
    headers: dict[str, str] | None = None,
    raw: str | None = None,
    roles: tuple[str, ...] = (),
    limit: str | None = None,
    within: float | None = None,
    cache: Cache | None = None,
    stream: Stream | None = None,
    request: dict[str, Any] = ANYTHING,
    reply: dict[str, Any] = ANYTHING,
    refusals: tuple[RefusalKind, ...] = (),
    keeps_answer: bool = True,
) -> Offer:
    """An operation with a route."""
    route = Route(
        method=method,
        path=path,
        status=status,
        who=who,
        query=query,
        wait=wait,
        headers=headers or {},
        raw=raw,
        roles=roles,
        limit=limit,
        within_seconds=within,
    )
    kind: Literal["query", "write"] = "query" if method == "GET" else "write"
    return Offer(
        topic=topic,
        kind=kind,
        http=route,
        request=request,
        reply=reply,
        refusals=refusals,
        cache=cache,
        stream=stream,
        keeps_answer=keeps_answer,
    )


class Lane:
    """A requester that remembers what it was asked and answers as told; `{}` where it was told nothing."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answers: dict[str, Reply] = {}

    async def request(self, request: Request) -> Answer:
        self.asked.append(request)
        answer = self.answers.get(request.topic, Answer(b"{}"))
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else await answer(request)

    @property
    def last(self) -> Request:
        """The last request that was no question for keys."""
        return [request for request in self.asked if request.topic != KEYS_TOPIC][-1]

    def count(self, topic: str) -> int:
        """How often a topic was asked."""
        return sum(request.topic == topic for request in self.asked)


class World:
    """The edge, its client, and everything that the edge believes in."""

    def __init__(
        self, rates: Mapping[str, Rate] | None = None, *, clients: Clients | None = None, at_once: int = 8
    ) -> None:
        self.lane = Lane()
        self.registry = Registry(trusted_logins=frozenset({"edge"}))
        self.is_known = True
        self.is_up = True
        self.signing_key = ECKey.generate_key("P-256", {"kid": "first"})
        self.instances: dict[str, UUID] = {}
        self.routes = routes = Routes(self.registry, is_reserved=lambda path: template_of(path) is not None)
        self.keys = KeyRing(over_the_lane(routes, self.lane))
        checks = {"broker": lambda: self.is_up, "presence": lambda: self.is_known}
        self.revocations = RevocationList(from_issuer(routes, self.lane))
        self.revocations.are_known = True
        self.authenticator = Authenticator(self.keys, self.revocations)
        self.cache = Answers(max_bytes=100_000)
        self.limits = Limits(rates or {}, Memory(), clients or Clients())
        self.capacity = Capacity(at_once)
        self.streams = Streams(4, most_of_one=2)
        self.revocations.on_revoked.append(self.streams.revoke)
        self.app = assemble(
            routes,
            self.lane,
            self.authenticator,
            self.limits,
            checks,
            _nothing,
            capacity=self.capacity,
            cache=self.cache,
            streams=self.streams,
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=True), base_url="http://edge"
        )
        self.present("accounts", offer(KEYS_TOPIC, "GET", JWKS_PATH))
        self.publish_keys(self.signing_key)

    def present(
        self, service: str, *offers: Offer, login: str | None = None, version: str = "1", says: tuple[Saying, ...] = ()
    ) -> None:
        """An instance of the service says hello."""
        self.instances[service] = new_id()
        manifest = Manifest(service=service, version=version, offers=offers, says=says)
        hello = Hello(instance=self.instances[service], manifest=manifest, started_at=datetime.now(UTC))
        self.registry.hello(hello, login=login or service, now=time.monotonic())

    def leave(self, service: str) -> None:
        """Its instance says bye."""
        self.registry.bye(Bye(instance=self.instances[service], service=service), login=service)

    def lines(self, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
        """The requests that were logged since somebody last asked."""
        self.app.telemetry.flush()
        return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]

    def publish_keys(self, *keys: ECKey) -> None:
        """What the keys' operation answers from now on."""
        entries = [{**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM} for key in keys]
        self.lane.answers[KEYS_TOPIC] = Answer(json.dumps({"keys": entries}).encode())

    def token(
        self, *, key: ECKey | None = None, header: dict[str, Any] | None = None, without: str = "", **claims: Any
    ) -> str:
        """A valid access token, except for what is asked for."""
        key, now = key or self.signing_key, int(time.time())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(uuid4()),
            "iat": now,
            "exp": now + 600,
            "jti": str(uuid4()),
            SESSION_CLAIM: str(uuid4()),
            ROLES_CLAIM: [],
            GENERATION_CLAIM: 0,
            **claims,
        }
        said.pop(without, None)
        return jwt.encode(
            {"alg": ALGORITHM, "typ": TYPE, "kid": key.kid, **(header or {})}, said, key, algorithms=[ALGORITHM]
        )


def bearing(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {token}"}


def nobody(topic: str) -> NobodyThereError:
    """What the lane raises when nothing is bound."""
    return NobodyThereError(topic)


@contextlib.asynccontextmanager
async def _nothing(app: Starlette) -> AsyncIterator[None]:
    yield

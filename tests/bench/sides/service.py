"""The smallest service of ours, in front of which the edge is measured: constant answers, and a millisecond's work."""

import os
import time
from pathlib import Path
from typing import ClassVar

from broker.service import Http, Service
from contracts.base import Query
from contracts.tokens import JWKS_PATH
from contracts.users import Jwks
from tests.bench.sides.words import Word
from workers.users.tokens import Signer

HELLO = Word(word="hello")
WORK_SECONDS = 0.001


class Hello(Query[Word]):
    """A constant, for anyone."""

    topic: ClassVar[str] = "bench.hello.v1"


class HelloUser(Query[Word]):
    """A constant, for those who bring a token."""

    topic: ClassVar[str] = "bench.hello-user.v1"


class Toil(Query[Word]):
    """A constant that costs a millisecond of a processor."""

    topic: ClassVar[str] = "bench.toil.v1"


class Keys(Query[Jwks]):
    """What tokens are verified with."""

    topic: ClassVar[str] = "bench.keys.v1"


service = Service("bench")
signer = Signer(Path(os.environ["HEDGEROW_SIGNING_KEY_FILE"]).read_bytes())


@service.answers(Hello, http=Http("GET", "/bare", who="anyone"))
async def hello(question: Hello) -> Word:
    return HELLO


@service.answers(HelloUser, http=Http("GET", "/full"))
async def hello_user(question: HelloUser) -> Word:
    return HELLO


@service.answers(Toil, http=Http("GET", "/toil", who="anyone"))
async def toil(question: Toil) -> Word:
    until = time.thread_time() + WORK_SECONDS
    while time.thread_time() < until:
        pass
    return HELLO


@service.answers(Keys, http=Http("GET", JWKS_PATH, who="anyone"))
async def keys(question: Keys) -> Jwks:
    return signer.keys()


if __name__ == "__main__":
    service.run()

"""What the lane's tests say to each other."""

from typing import ClassVar

from contracts.base import Message, Operation, Query

SAY = "echo.say.v1"


class Echo(Message):
    """What came back, and from whom."""

    word: str
    by: str = ""


class Say(Query[Echo]):
    """Say it again."""

    topic: ClassVar[str] = SAY
    word: str


class Hold(Operation[Echo]):
    """Say it again, but hold it for ever where HOLD is set."""

    topic: ClassVar[str] = "doomed.hold.v1"
    word: str


class Work(Operation[Echo]):
    """Say it again after a while that nobody can foresee, and write down that it was done."""

    topic: ClassVar[str] = "doomed.work.v1"
    word: str


class Die(Operation[Echo]):
    """End the process that tries to answer, without a warning."""

    topic: ClassVar[str] = "doomed.die.v1"
    word: str

"""What the operator decides."""

import socket
from collections.abc import Iterator

import pytest

from edge_api.listening import listen
from edge_api.settings import BadSettingError, settings_from

AMQP = {"HEDGEROW_AMQP_URL": "amqp://edge:secret@localhost:5672/%2F"}


def test_the_defaults() -> None:
    settings = settings_from(AMQP)
    assert (settings.host, settings.port, settings.trusted_logins) == ("127.0.0.1", 8080, frozenset())


def test_logins_are_listed_with_commas() -> None:
    settings = settings_from({**AMQP, "HEDGEROW_TRUSTED_LOGINS": "root, admin,,"})
    assert settings.trusted_logins == {"root", "admin"}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"HEDGEROW_AMQP_URL": ""}, "HEDGEROW_AMQP_URL"),
        ({"HEDGEROW_AMQP_URL": "http://localhost"}, "HEDGEROW_AMQP_URL"),
        ({"HEDGEROW_AMQP_URL": "amqp://"}, "HEDGEROW_AMQP_URL"),
        ({"HEDGEROW_AMQP_URL": "amqp://localhost?heartbeat=abc"}, "HEDGEROW_AMQP_URL"),
        ({"HEDGEROW_PORT": "0"}, "HEDGEROW_PORT"),
        ({"HEDGEROW_PORT": "70000"}, "HEDGEROW_PORT"),
        ({"HEDGEROW_PORT": "http"}, "HEDGEROW_PORT"),
        ({"HEDGEROW_PORT": "²"}, "HEDGEROW_PORT"),
    ],
)
def test_a_setting_that_is_no_good_is_named_and_nothing_secret_is_said(change: dict[str, str], name: str) -> None:
    with pytest.raises(BadSettingError, match=name) as refused:
        settings_from({**AMQP, **change})
    assert "secret" not in str(refused.value)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_even_if_it_would_be_shared(taken_port: int) -> None:
    with pytest.raises(BadSettingError, match=f"Port {taken_port} on 127.0.0.1 is taken; set HEDGEROW_PORT"):
        listen("127.0.0.1", taken_port)


def test_an_address_of_somebody_else_is_refused() -> None:
    with pytest.raises(BadSettingError, match=r"on 192\.0\.2\.1 can't be used"):
        listen("192.0.2.1", 8080)

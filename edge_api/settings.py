"""What the operator decides about the edge, read from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from broker.lane.wire.address import Address


class BadSettingError(Exception):
    """A setting is missing or makes no sense; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`trusted_logins` may speak for any service. `keys_login`, if given, is the only login whose service may hand out
    the keys that verify tokens; without it, whoever holds the route may."""

    amqp_url: str
    host: str = "127.0.0.1"
    port: int = 8080
    trusted_logins: frozenset[str] = frozenset()
    keys_login: str | None = None


def settings_from(environment: Mapping[str, str]) -> Settings:
    """The settings in these variables. Raises BadSettingError."""
    return Settings(
        amqp_url=_amqp_url(environment.get("HEDGEROW_AMQP_URL", "")),
        host=environment.get("HEDGEROW_HOST") or "127.0.0.1",
        port=_port(environment.get("HEDGEROW_PORT") or "8080"),
        trusted_logins=frozenset(
            filter(None, map(str.strip, environment.get("HEDGEROW_TRUSTED_LOGINS", "").split(",")))
        ),
        keys_login=environment.get("HEDGEROW_KEYS_LOGIN") or None,
    )


def _amqp_url(value: str) -> str:
    if not value:
        raise BadSettingError(
            "HEDGEROW_AMQP_URL is not set: it says where RabbitMQ is (amqp://login:password@host:port/)."
        )
    try:
        if not urlsplit(value).hostname:
            raise ValueError("it names no host")
        Address.of(value)
    except ValueError as error:
        raise BadSettingError(
            f"HEDGEROW_AMQP_URL is not an AMQP URL (amqp://login:password@host:port/): {error}."
        ) from error
    return value


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 65536:
        raise BadSettingError(f"HEDGEROW_PORT is {value!r}, which is not a port (1 to 65535).")
    return int(value)

"""What the operator decides about the edge, read from the environment."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from broker.lane.wire.address import Address
from edge_api.cache import MAX_BYTES
from edge_api.capacity import AT_ONCE
from edge_api.certificate import Certificate, CertificateError
from edge_api.clients import Networks, networks
from edge_api.limits import DEFAULTS, Rate, rates_from


class BadSettingError(Exception):
    """A setting is missing or makes no sense; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`trusted_logins` may speak for any service. `keys_login`, if given, is the only login whose service may hand out
    the keys that verify tokens; without it, whoever holds the route may. `rates` are the limits, shared
    with other edges through the Redis at `redis_url` if there is one; `at_once` is how many requests one service is
    asked at a time. `listen_fd` is a socket that listens already, inherited from who started this process."""

    amqp_url: str
    host: str = "127.0.0.1"
    port: int = 8080
    trusted_logins: frozenset[str] = frozenset()
    keys_login: str | None = None
    rates: Mapping[str, Rate] = field(default_factory=lambda: DEFAULTS)
    redis_url: str | None = None
    trusted_proxies: Networks = ()
    at_once: int = AT_ONCE
    cache_bytes: int = MAX_BYTES
    certificate: Certificate | None = None
    cors_origins: tuple[str, ...] = ()
    listen_fd: int | None = None


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
        rates=_rates(environment.get("HEDGEROW_LIMITS", "")),
        redis_url=_redis_url(environment.get("HEDGEROW_REDIS_URL", "")),
        trusted_proxies=_proxies(environment.get("HEDGEROW_TRUSTED_PROXIES", "")),
        at_once=_number(environment, "HEDGEROW_AT_ONCE", AT_ONCE, 1, 10_000),
        cache_bytes=_number(environment, "HEDGEROW_CACHE_BYTES", MAX_BYTES, 0, 1 << 36),
        certificate=certificate_from(environment),
        cors_origins=tuple(filter(None, map(str.strip, environment.get("HEDGEROW_CORS_ORIGINS", "").split(",")))),
        listen_fd=_descriptor(environment.get("HEDGEROW_LISTEN_FD", "")),
    )


def certificate_from(environment: Mapping[str, str]) -> Certificate | None:
    """The certificate in these variables, if they name one. Raises BadSettingError."""
    chain, key = (environment.get(f"HEDGEROW_TLS_{part}", "") for part in ("CERTIFICATE", "KEY"))
    if not chain and not key:
        return None
    if not chain or not key:
        raise BadSettingError(
            "HEDGEROW_TLS_CERTIFICATE and HEDGEROW_TLS_KEY name two PEM files; only one of them is set."
        )
    certificate = Certificate(Path(chain), Path(key))
    try:
        certificate.check()
    except CertificateError as error:
        raise BadSettingError(f"HEDGEROW_TLS_CERTIFICATE and HEDGEROW_TLS_KEY can't be used: {error}.") from None
    return certificate


def _rates(value: str) -> Mapping[str, Rate]:
    try:
        return rates_from(value)
    except ValueError as error:
        raise BadSettingError(f"HEDGEROW_LIMITS can't be read: {error} (requests/seconds).") from None


def _redis_url(value: str) -> str | None:
    if value and urlsplit(value).scheme not in ("redis", "rediss", "unix"):
        raise BadSettingError("HEDGEROW_REDIS_URL is not a Redis URL (redis://:password@host:6379/0).")
    return value or None


def _proxies(value: str) -> Networks:
    try:
        return networks(value)
    except ValueError as error:
        raise BadSettingError(f"HEDGEROW_TRUSTED_PROXIES lists addresses and networks: {error}.") from None


def _number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    value = environment.get(name) or str(default)
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise BadSettingError(f"{name} is {value!r}; it is a number from {least} to {most}.")
    return int(value)


def _descriptor(value: str) -> int | None:
    if not value:
        return None
    try:
        if not stat.S_ISSOCK(os.fstat(int(value)).st_mode):
            raise ValueError
    except (OSError, ValueError, OverflowError):
        raise BadSettingError(f"HEDGEROW_LISTEN_FD is {value!r}, which is no socket of this process.") from None
    return int(value)


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

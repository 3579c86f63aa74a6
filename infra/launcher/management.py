"""RabbitMQ's management API: virtual hosts, logins and policies, which can't be made over AMQP."""

import functools
import ssl
import time
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import httpx

from infra.launcher.failure import Failure

DELIVERY_LIMIT = (
    "hedgerow-delivery-limit",
    # Dead letters stay, however often somebody looks at them.
    {"pattern": "^(?!dead-letters$).*", "definition": {"delivery-limit": 20}, "apply-to": "queues"},
)


class NoAdministratorError(Failure):
    """The API answers, and does not let this login do what an administrator does."""


class Management:
    """An administrator's session; every call may be repeated. Raises `Failure` when the API refuses or is away."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        login = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
        place = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}/api"
        self._client = httpx.Client(base_url=place, auth=login, timeout=10, trust_env=False, verify=_authorities())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait(self, *, within: float) -> None:
        """Wait until the API answers; whom it refuses does not wait."""
        deadline = time.monotonic() + within
        while True:
            try:
                self._call("GET", "overview")
                return
            except NoAdministratorError:
                raise
            except Failure:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def make_vhost(self, vhost: str, *, administrator: str) -> None:
        """A virtual host that the administrator may use, with the platform's policy."""
        self._call("PUT", f"vhosts/{_name(vhost)}")
        self.permit(administrator, vhost, configure=".*", write=".*", read=".*")
        self.limit_deliveries(vhost)

    def drop_vhost(self, vhost: str) -> None:
        """Remove a virtual host with everything in it, and the logins that were made for it (`<service>@<vhost>`)."""
        self._call("DELETE", f"vhosts/{_name(vhost)}")
        for login in self.logins():
            if login.endswith(f"@{vhost}"):
                self.drop_login(login)

    def make_login(self, login: str, password: str) -> None:
        """A login without any rights yet; an existing one gets the password."""
        self._call("PUT", f"users/{_name(login)}", {"password": password, "tags": ""})

    def logins(self) -> list[str]:
        """All there are, of whatever virtual host."""
        return [user["name"] for user in self._call("GET", "users?columns=name").json()]

    def drop_login(self, login: str) -> None:
        """Remove a login with its rights; the broker closes its connections."""
        self._call("DELETE", f"users/{_name(login)}")

    def drop_queues(self, vhost: str, *, prefix: str) -> None:
        """Remove the queues whose names begin so, with what waits in them; exclusive ones go with their connections."""
        for queue in self._call("GET", f"queues/{_name(vhost)}?columns=name,exclusive").json():
            if queue["name"].startswith(prefix) and not queue["exclusive"]:
                self._call("DELETE", f"queues/{_name(vhost)}/{_name(queue['name'])}")

    def permit(self, login: str, vhost: str, *, configure: str, write: str, read: str) -> None:
        """What a login may declare, publish to and consume from, as regular expressions over names."""
        rights = {"configure": configure, "write": write, "read": read}
        self._call("PUT", f"permissions/{_name(vhost)}/{_name(login)}", rights)

    def permit_topics(self, login: str, vhost: str, exchange: str, *, write: str, read: str) -> None:
        """Which routing keys of a topic exchange a login may publish with and bind to."""
        rights = {"exchange": exchange, "write": write, "read": read}
        self._call("PUT", f"topic-permissions/{_name(vhost)}/{_name(login)}", rights)

    def definitions(self, vhost: str) -> dict[str, Any]:
        """Exchanges, queues, bindings and policies of a virtual host; no logins, and no secret."""
        return dict(self._call("GET", f"definitions/{_name(vhost)}").json())

    def define_anew(self, vhost: str, definitions: dict[str, Any]) -> None:
        """Remove every queue with all that is in it, and make what is defined."""
        for queue in self._call("GET", f"queues/{_name(vhost)}?columns=name").json():
            self._call("DELETE", f"queues/{_name(vhost)}/{_name(queue['name'])}")
        self._call("POST", f"definitions/{_name(vhost)}", definitions)

    def messages(self, vhost: str) -> dict[str, int]:
        """How many messages each queue has, under way ones included, as RabbitMQ knew within the last five seconds."""
        queues = self._call("GET", f"queues/{_name(vhost)}?columns=name,messages").json()
        return {queue["name"]: int(queue.get("messages", 0)) for queue in queues}

    def limit_deliveries(self, vhost: str) -> None:
        """The guard against messages that kill whoever takes them: a policy, since queue arguments can't be changed."""
        name, policy = DELIVERY_LIMIT
        self._call("PUT", f"policies/{_name(vhost)}/{name}", policy)

    def _call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body).raise_for_status()
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (401, 403):
                needed = "a login with the tag `administrator`, and its password"
                raise NoAdministratorError(
                    f"RabbitMQ's management API lets us not {method} {path}: it needs {needed}."
                ) from error
            raise Failure(f"RabbitMQ's management API refused {method} {path}: {error.response.text}.") from error
        except httpx.HTTPError as error:
            raise Failure(f"RabbitMQ's management API does not answer at {self._client.base_url}: {error}.") from error


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Whom to trust where the address begins with https; read once, since that takes longer than most calls."""
    return httpx.create_ssl_context(trust_env=False)


def _name(name: str) -> str:
    return quote(name, safe="")

"""Where the broker is and how one logs in: the parts of an AMQP URL.

Promise: the same URLs work as with aio-pika: `amqps` with `cafile`, `capath`, `certfile`, `keyfile`, `no_verify_ssl`;
`auth=external` (SASL EXTERNAL: the certificate is the login, and the URL names the same user, because messages say whom
they are from); `heartbeat` in seconds.
"""

import ssl
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from broker.reconnecting import HEARTBEAT_SECONDS, LoginRefusedError

_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URL; `options` are those of its query."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    secure: bool
    options: dict[str, str]

    @classmethod
    def of(cls, amqp_url: str) -> "Address":
        """Raises ValueError for what is no AMQP URL."""
        url = urlsplit(amqp_url)
        options = dict(parse_qsl(url.query))
        if not options.get("heartbeat", "0").isdecimal():
            raise ValueError(f"heartbeat={options['heartbeat']} is no number of seconds")
        if url.scheme not in _PORTS:
            raise ValueError(f"{url.scheme}:// is not the address of a broker (amqp:// or amqps://)")
        return cls(
            host=url.hostname or "localhost",
            port=url.port or _PORTS[url.scheme],
            user=unquote(url.username or "guest"),
            password=unquote(url.password or "guest"),
            vhost=unquote(url.path[1:]) or "/",
            secure=url.scheme == "amqps",
            options=options,
        )

    @property
    def heartbeat(self) -> int:
        """Seconds; 0 is not possible, because a dead broker would never be noticed."""
        return int(self.options.get("heartbeat", "0")) or HEARTBEAT_SECONDS

    def login(self, offered: str) -> tuple[str, str]:
        """The SASL mechanism and its response. Raises LoginRefusedError if the broker does not offer it."""
        external = self.options.get("auth", "plain").lower() == "external"
        mechanism, response = ("EXTERNAL", "") if external else ("PLAIN", f"\0{self.user}\0{self.password}")
        if mechanism not in offered.split():
            raise LoginRefusedError(f"the broker offers {offered}, not {mechanism}")
        return mechanism, response

    def ssl_context(self) -> ssl.SSLContext | None:
        """How to secure the connection; the broker's certificate is verified unless the URL says otherwise."""
        if not self.secure:
            return None
        context = ssl.create_default_context(cafile=self.options.get("cafile"), capath=self.options.get("capath"))
        if self.options.get("no_verify_ssl", "0") != "0":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if "certfile" in self.options:
            context.load_cert_chain(self.options["certfile"], self.options.get("keyfile"))
        return context

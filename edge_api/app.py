"""The wiring of the edge."""

from typing import TYPE_CHECKING

from broker.exposition import measure_lag_forever
from broker.front_door import FrontDoor
from broker.lane import Requester
from broker.lane.carriers import Carrier
from broker.lane.wire.link import WireLink
from broker.registry import Registry
from broker.topology import FRONT_DOOR
from broker.traced import asking
from broker.watcher import Watcher
from edge_api.authentication import Authenticator
from edge_api.cache import Cache
from edge_api.capacity import Capacity
from edge_api.clients import Clients
from edge_api.door import Door
from edge_api.gateway import Gateway
from edge_api.keys import KeyRing, keys_target, over_the_lane
from edge_api.lifespan import Forever, lifespan_of
from edge_api.limits import Limits, Memory, Store
from edge_api.news import News
from edge_api.platform_paths import template_of
from edge_api.platform_routes import Checks, Lifespan, PlatformRoutes
from edge_api.revocations import Listener, RevocationList, from_issuer
from edge_api.routing import Routes
from edge_api.settings import Settings
from edge_api.streams import Streams
from edge_api.traced import traced
from edge_api.vitals import vitals

if TYPE_CHECKING:
    from edge_api.shared_answers import SharedAnswers


def edge(settings: Settings) -> Door:
    """The edge on a real broker. It connects when its lifespan starts, and serves even while the broker is away."""
    link, carrier = WireLink(settings.amqp_url, name="edge presence"), Carrier(settings.amqp_url, name="edge")
    owner = link.login.partition("@")[0]
    requester = asking(carrier.requester(owner=owner, exchange=FRONT_DOOR), FRONT_DOOR)
    registry = Registry(trusted_logins=settings.trusted_logins | {link.login})
    watcher = Watcher(registry, link, publisher=carrier.publisher, owner=owner)
    front_door = FrontDoor(registry, link)
    routes = Routes(registry, is_reserved=lambda path: template_of(path) is not None)
    keys = KeyRing(over_the_lane(routes, requester, login=settings.keys_login))
    revocations = RevocationList(from_issuer(routes, requester, login=settings.keys_login))
    link.on_connect(Listener(revocations, routes, owner=owner, login=settings.keys_login).listen)
    checks: Checks = {
        "broker": lambda: link.is_up and carrier.publishing.is_up,
        "presence": watcher.known.is_set,
        "keys": lambda: keys_target(routes, login=settings.keys_login) is not None,
        "revocations": lambda: revocations.are_known,
    }
    store, answers, beside = _shared(settings.redis_url)
    cache = Cache(settings.cache_bytes, shared=answers)
    streams = Streams()
    news = News(link, routes, cache, streams, owner=owner)
    limits = Limits(settings.rates, store, Clients(settings.trusted_proxies))
    links = {"publishing": carrier.publishing, "presence": link}
    lifespan = lifespan_of(
        links.values(),
        vitals(registry, requester, links, checks),
        watcher.watch_forever,
        front_door.keep_bound_forever,
        keys.refresh_forever,
        revocations.keep_current_forever,
        news.hear_forever,
        measure_lag_forever,
        *beside,
    )
    authenticator = Authenticator(keys, revocations)
    capacity = Capacity(settings.at_once)
    revocations.on_revoked.append(streams.revoke)
    return assemble(
        routes, requester, authenticator, limits, checks, lifespan, capacity=capacity, cache=cache, streams=streams
    )


def _shared(redis_url: str | None) -> tuple[Store, "SharedAnswers | None", tuple[Forever, ...]]:
    """Where limits are kept, and answers beside the edge's own memory, and what runs for that."""
    if redis_url is None:
        return Memory(), None, ()
    # Only here: the client takes 8 MB, and most edges have no Redis.
    from edge_api.shared_answers import SharedAnswers
    from edge_api.shared_limits import Shared

    limits, answers = Shared(redis_url, Memory()), SharedAnswers(redis_url)
    return limits, answers, (limits.stay_connected, answers.stay_connected)


def assemble(
    routes: Routes,
    requester: Requester,
    authenticator: Authenticator,
    limits: Limits,
    checks: Checks,
    lifespan: Lifespan,
    *,
    capacity: Capacity | None = None,
    cache: Cache | None = None,
    streams: Streams | None = None,
) -> Door:
    """The edge of these parts."""
    capacity, cache, streams = capacity or Capacity(), cache or Cache(), streams or Streams()
    gateway = Gateway(routes, requester, authenticator, limits, capacity, cache, streams, is_known=checks["presence"])
    platform = PlatformRoutes(routes, authenticator, checks).application(lifespan)
    return Door(traced(gateway), platform, limits, streams, checks)

"""Which profiles compose.yaml has: Compose itself ignores one that nobody knows."""

from infra.launcher.failure import Failure

PROFILES = ("monitoring", "logging", "tracing", "backup")


def check_profiles(told: str) -> None:
    """`told` is what COMPOSE_PROFILES says. Raises `Failure`."""
    wanted = {name for name in told.split(",") if name}
    if unknown := sorted(wanted - {*PROFILES, "*"}):
        raise Failure(
            f"COMPOSE_PROFILES names {unknown[0]!r}, and there is no such profile; there is {', '.join(PROFILES)}."
        )

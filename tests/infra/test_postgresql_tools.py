"""How pg_dump and pg_restore are told where the database is."""

import pytest

from infra.launcher.failure import Failure
from infra.launcher.postgresql_tools import connection_settings, run_tool

ADDRESS = "postgresql://us%40er:p%2Fw@db.example:6432/shop?sslmode=verify-full&sslrootcert=/etc/authority.pem"


def test_everything_that_the_address_says_is_told_by_the_environment() -> None:
    assert connection_settings(ADDRESS) == {
        "PGHOST": "db.example",
        "PGPORT": "6432",
        "PGUSER": "us@er",
        "PGPASSWORD": "p/w",
        "PGDATABASE": "shop",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/authority.pem",
    }


def test_who_is_to_be_reached_by_tls_is_not_reached_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Failure, match="reached by TLS, and this machine has no pg_dump"):
        run_tool("pg_dump", ADDRESS)


def test_what_a_tool_says_becomes_one_sentence() -> None:
    with pytest.raises(Failure, match=r"^pg_restore failed: .*nothing-here.*\.$"):
        run_tool("pg_restore", None, "--list", "/nothing-here")

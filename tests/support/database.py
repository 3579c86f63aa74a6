"""A database that comes and goes."""

import asyncpg

AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises when it is away, or goes away meanwhile."""

"""How the catalog service is put together. It has no settings of its own."""

from workers.catalog.handlers import service


def main() -> None:
    """Serve until told to stop."""
    service.run()

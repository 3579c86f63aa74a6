"""How the orders service is put together. It has no settings of its own."""

from workers.orders.handlers import service


def main() -> None:
    """Serve until told to stop."""
    service.run()

"""How the catalog service is put together, and the only reader of its settings."""

import os
import sys
from pathlib import Path

from workers.catalog.handlers import service
from workers.catalog.tariffs import SETTING, read


def main() -> None:
    """Serve until told to stop. Ends with one sentence on standard error and status 1 where the tariffs are wrong."""
    if path := os.environ.get(SETTING):
        try:
            service.provide(read(Path(path)))
        except ValueError as error:
            sys.exit(str(error))
    service.run()

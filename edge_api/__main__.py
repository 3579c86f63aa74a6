"""`python -m edge_api`: run one edge."""

import os
import sys
from importlib.metadata import version

from broker import tracing
from broker.exposition import BadMetricsAddressError, expose
from broker.logs import SHIP_TO, BadCollectorError, configure_logging
from broker.secret_files import take_secrets
from edge_api.serve import serve
from edge_api.settings import BadSettingError, settings_from


def main() -> None:
    """Serve until SIGTERM. A setting that is no good ends it with one sentence and status 1."""
    take_secrets()
    try:
        settings = settings_from(os.environ)
        configure_logging("edge", ship_to=os.environ.get(SHIP_TO))
        expose("edge", version("hedgerow"), os.environ)
        tracing.start("edge", version("hedgerow"), os.environ)
        serve(settings)
    except (BadSettingError, BadMetricsAddressError, BadCollectorError, tracing.BadTracingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

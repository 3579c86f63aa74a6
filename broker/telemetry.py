"""What the platform says about itself: counters for Prometheus and one log line a fact.

Promise: labels are bounded (services, topics, queues; never ids), and nothing is dropped or suppressed without being
counted here.
"""

from collections.abc import Iterable

import structlog
from prometheus_client import Counter, Histogram, disable_created_metrics

from broker.topology import TIERS

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, that nobody reads
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds. An observation costs as many comparisons as buckets lie below it."""

REQUESTS = Counter("hedgerow_requests", "Requests answered.", ["topic", "outcome"])
REQUEST_SECONDS = Histogram("hedgerow_request_seconds", "Time to answer a request.", ["topic"], buckets=BUCKETS)
LANE_DROPPED = Counter("hedgerow_lane_dropped", "Requests and replies that were dropped.", ["reason"])
for _reason in (
    "answered-late",
    "bad-answer",
    "expired",
    "frame-violation",
    "late-reply",
    "malformed",
    "malformed-reply",
    "not-set-aside",
    "reply-not-sent",
):
    LANE_DROPPED.labels(_reason)
LANE_UNANSWERED = Counter("hedgerow_lane_unanswered", "Requests of this process that got no answer.", ["reason"])
LANE_REPEATED = Counter("hedgerow_lane_repeated", "Requests asked once more after a lost connection.")
REDELIVERIES = Counter("hedgerow_redeliveries", "Messages that the broker delivered again.", ["queue"])
DUPLICATES = Counter("hedgerow_inbox_duplicates", "Duplicates that the inbox suppressed.", ["queue"])
PARKED = Counter("hedgerow_inbox_parked", "Messages that waited for their predecessor.", ["queue"])
MESSAGE_SECONDS = Histogram(
    "hedgerow_message_seconds", "Time to handle an event or a command.", ["queue"], buckets=BUCKETS
)
RETRIED = Counter("hedgerow_retries", "Messages sent to a retry tier.", ["queue", "tier"])
DEAD_LETTERED = Counter("hedgerow_dead_letters", "Messages given up on.", ["queue"])
PUBLISHED = Counter("hedgerow_outbox_published", "Outbox rows published and confirmed.", ["exchange"])
REFUSED_ROWS = Counter("hedgerow_outbox_refused", "Publishes that the broker refused or returned.", ["exchange"])
CHORE_FAILURES = Counter("hedgerow_chore_failures", "Runs of a chore that failed.", ["chore"])
REFUSED_CLAIMS = Counter("hedgerow_presence_refused", "Manifests or claims that were refused.", ["reason"])
LOG_LINES_SHIPPED = Counter("hedgerow_log_lines_shipped", "Log lines that the collector took.")
LOG_LINES_LOST = Counter(
    "hedgerow_log_lines_lost", "Log lines that were lost, because the collector was away for long."
)
SPANS_SENT = Counter("hedgerow_spans_sent", "Spans that the collector took.")
SPANS_LOST = Counter("hedgerow_spans_lost", "Spans that were lost, because the collector was away or slow.")
GAUGE_FAILURES = Counter("hedgerow_gauge_failures", "Figures that could not be looked up.", ["gauge"])
LOOP_LAG_SECONDS = Histogram(
    "hedgerow_loop_lag_seconds", "How much later than asked for the event loop went on.", buckets=BUCKETS
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def begin_at_zero(queues: Iterable[str]) -> None:
    """Let these queues' counters be there before anything happens: a series that begins with its first failure shows
    no increase."""
    for queue in queues:
        for counter in (DUPLICATES, PARKED, DEAD_LETTERED, REDELIVERIES):
            counter.labels(queue)
        for tier in TIERS:
            RETRIED.labels(queue, tier)

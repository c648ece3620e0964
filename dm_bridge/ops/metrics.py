"""The figures of `/metrics`, in Prometheus form."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300)

_OUTCOMES = {
    "to_matrix": ("delivered", "dropped", "parked"),
    "to_remote": ("delivered", "failed", "uncertain", "parked"),
}


class Metrics:
    """One registry per bridge; nothing is global."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counts: list[Callable[[], None]] = []
        self.messages = Counter(
            "dm_bridge_messages",
            "Messages that reached an outcome",
            ("direction", "outcome"),
            registry=self.registry,
        )
        self.latency = Histogram(
            "dm_bridge_message_seconds",
            "From the moment a message is committed to its outcome",
            ("direction",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.queue_rows = Gauge(
            "dm_bridge_queue_rows",
            "Rows of the queues that wait or are parked, when last counted",
            ("direction", "state"),
            registry=self.registry,
        )
        self.queue_oldest = Gauge(
            "dm_bridge_queue_oldest_seconds",
            "Age of the oldest row that waits or is parked, when last counted; 0: none",
            ("direction", "state"),
            registry=self.registry,
        )
        self.queue_counted = Gauge(
            "dm_bridge_queue_counted_at_seconds",
            "When the queues were last counted, since the epoch; 0: not yet",
            registry=self.registry,
        )
        self.pauses = Counter(
            "dm_bridge_lane_pauses",
            "Times that a chat paused after trouble, to be tried again",
            ("direction",),
            registry=self.registry,
        )
        self.pausing = Gauge(
            "dm_bridge_lanes_pausing",
            "Chats that pause after trouble, now",
            ("direction",),
            registry=self.registry,
        )
        self.ready = Gauge(
            "dm_bridge_ready",
            "What /health/ready says of each part: 1 for well, 0 for trouble",
            ("part",),
            registry=self.registry,
        )
        self.logins = Gauge(
            "dm_bridge_logins", "Logins by state", ("network", "state"), registry=self.registry
        )
        self.instances = Gauge(
            "dm_bridge_processes",
            "Processes of the bridge on this database",
            registry=self.registry,
        )
        self.users_held = Gauge(
            "dm_bridge_users_held",
            "Users that this process has; each has logins, or wrote to the bot",
            registry=self.registry,
        )
        self.lease_changes = Counter(
            "dm_bridge_lease_changes",
            "Users taken or given away by this process, and processes that it found dead (buried)",
            ("change",),
            registry=self.registry,
        )
        self.direct_puts = Counter(
            "dm_bridge_direct_puts", "Writes of m.direct", registry=self.registry
        )
        self.direct_watched = Gauge(
            "dm_bridge_direct_watched", "Accounts whose m.direct is watched", registry=self.registry
        )
        self.direct_pushed_since = Gauge(
            "dm_bridge_direct_pushed_since_seconds",
            "Since when the homeserver's module is heard; 0: it is not",
            registry=self.registry,
        )
        self.intake_failures = Counter(
            "dm_bridge_intake_failures",
            "Transactions of the homeserver that were not taken in; it pushes them again",
            registry=self.registry,
        )
        self.reports = Counter(
            "dm_bridge_reports",
            "Reports to collectors (checkpoints, states): sent, refused by them, or dropped to make place",
            ("collector", "outcome"),
            registry=self.registry,
        )
        self.provisioning = Counter(
            "dm_bridge_provisioning_requests",
            "Requests to the provisioning API: done, refused for what was asked or by whom, or failed",
            ("outcome",),
            registry=self.registry,
        )
        self.transactions = Counter(
            "dm_bridge_pushed_events", "Events pushed by the homeserver", registry=self.registry
        )
        self.signals = Counter(
            "dm_bridge_pushed_signals",
            "Typing, receipts and presence pushed by the homeserver",
            registry=self.registry,
        )

        for collector in ("checkpoints", "states"):
            for outcome in ("sent", "refused", "dropped"):
                self.reports.labels(collector, outcome)
        for outcome in ("done", "refused", "failed"):
            self.provisioning.labels(outcome)
        for change in ("taken", "given", "buried"):
            self.lease_changes.labels(change)
        for (
            direction,
            outcomes,
        ) in _OUTCOMES.items():  # a figure that appears late hides its first step
            self.pauses.labels(direction)
            self.latency.labels(direction)
            for outcome in outcomes:
                self.messages.labels(direction, outcome)

    def before_exposition(self, count: Callable[[], None]) -> None:
        """Have ``count`` set figures that would cost too much to keep with every change."""
        self._counts.append(count)

    def exposition(self) -> bytes:
        """The text format."""
        for count in self._counts:
            count()
        return generate_latest(self.registry)

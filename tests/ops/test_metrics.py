"""The figures of one bridge."""

from __future__ import annotations

from dm_bridge.ops.metrics import Metrics


def lines(metrics: Metrics) -> list[str]:
    return metrics.exposition().decode().splitlines()


def test_messages_are_counted_by_direction_and_outcome() -> None:
    metrics = Metrics()
    metrics.messages.labels("to_matrix", "delivered").inc()
    metrics.messages.labels("to_matrix", "delivered").inc()
    metrics.messages.labels("to_remote", "failed").inc()
    shown = lines(metrics)
    assert 'dm_bridge_messages_total{direction="to_matrix",outcome="delivered"} 2.0' in shown
    assert 'dm_bridge_messages_total{direction="to_remote",outcome="failed"} 1.0' in shown


def test_a_latency_falls_into_its_bucket_and_all_larger_ones() -> None:
    metrics = Metrics()
    metrics.latency.labels("to_matrix").observe(0.03)
    shown = lines(metrics)
    bucket = 'dm_bridge_message_seconds_bucket{direction="to_matrix",le="%s"} %s'
    assert bucket % ("0.02", "0.0") in shown
    assert bucket % ("0.05", "1.0") in shown
    assert bucket % ("+Inf", "1.0") in shown


def test_two_bridges_in_one_process_count_for_themselves() -> None:
    first, second = Metrics(), Metrics()
    first.direct_puts.inc()
    assert "dm_bridge_direct_puts_total 1.0" in lines(first)
    assert "dm_bridge_direct_puts_total 0.0" in lines(second)


def test_every_figure_has_our_prefix_and_an_explanation() -> None:
    helps = [line for line in lines(Metrics()) if line.startswith("# HELP ")]
    assert len(helps) >= 5
    assert all(line.split()[2].startswith("dm_bridge_") and len(line.split()) > 4 for line in helps)

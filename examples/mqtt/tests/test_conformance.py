"""The connector keeps what a connector promises, on a real broker."""

from __future__ import annotations

from mosquitto import MqttAdapter

from dm_bridge.testing.conformance import Conformance


class TestMqtt(Conformance):
    adapter = MqttAdapter

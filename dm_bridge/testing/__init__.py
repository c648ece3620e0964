"""Real servers and independent clients, for tests, benchmarks, the demo, and authors of connectors."""

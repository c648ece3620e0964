"""Real servers, fakes of them, independent clients, a simulator: for tests, benchmarks, the demo, connectors."""

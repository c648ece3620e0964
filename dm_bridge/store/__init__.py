"""Postgres, through asyncpg: each module keeps its SQL beside the functions that run it."""

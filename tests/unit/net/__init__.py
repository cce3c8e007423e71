"""Tests of `proxy.net`: sockets are real, PostgreSQL is a few lines."""

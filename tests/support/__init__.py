"""Helpers that tests share: installations, servers, clients. No tests are here."""

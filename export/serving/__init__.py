"""Serving an exported model: a server's configuration, a client, a server."""

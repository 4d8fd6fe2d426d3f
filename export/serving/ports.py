"""Ports that a server is asked to listen on, tried before a model is loaded."""

import socket

from export.serving.faults import ServingError


def refuse_taken(host="", **ports):
    """Raises ServingError if one of the ports cannot be listened on.

    Args:
      host: str, the address; empty for every one of this computer.
      **ports: int by the argument that gave it; 0 for a free one.
    """
    for argument, port in ports.items():
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )[0]  # fmt: skip
            with socket.socket(family, kind) as tried:
                # Else a port that has just been left would seem taken.
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
        except OSError as error:
            where = f" at host={host}" if host else ""
            raise ServingError(
                f"{argument}={port}{where} cannot be listened on: "
                f"{error.strerror}. Give another."
            ) from error

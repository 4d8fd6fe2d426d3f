"""What can go wrong between a client and a server, in four kinds."""

TRANSIENT = "transient"  # may succeed when it is sent again
# Not in time or not in memory: the request is too much, or the server busy.
HEAVY = "heavy"
REFUSED = "refused"  # this request, whatever it holds; others may succeed
FATAL = "fatal"  # every request


def is_out_of_memory(words):
    """Whether a server's message is TensorFlow's of memory, not of a queue."""
    return "OOM when allocating" in words


class ServingError(RuntimeError):
    """A sentence to the user: the whole command ends."""


class Fault(Exception):
    """A request without an answer; `kind` is one of the four."""

    def __init__(self, kind, words):
        # A server's message may hold a trace of many lines.
        super().__init__(words.strip().split("\n")[0][:300])
        self.kind = kind


class Unsendable(Exception):
    """Why an image is not sent."""

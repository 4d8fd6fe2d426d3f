"""Batches of images sent side by side, and what becomes of each image.

A request that may succeed later is sent again, after a growing pause. One that
the server refuses, or has no time or memory for, is cut in two, until the image
is found that it refuses: the others have their answers. What concerns every
request ends the command, and so does a server that stays too busy: cutting
would give it more to do, and rows without an answer would stay in the output.
"""

import collections
import concurrent.futures
import random
import time
from typing import NamedTuple

import numpy as np

from export.serving.faults import (
    FATAL,
    HEAVY,
    REFUSED,
    Fault,
    ServingError,
    Unsendable,
)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds
# Of images that are each too much by themselves, without an answer between.
_MOST_HEAVY = 3
_KEPT = "What has come is kept: the same command continues."
_STATUS, _OK = "status", "ok"


class Target(NamedTuple):
    """What is asked: of which version, by which signature."""

    model: str
    version: int | None  # None if the server knows no versions
    signature: str
    input: str  # the alias of the encoded images
    outputs: dict  # alias to `transport.Column`, of those to keep
    only: str | None = None  # the alias, if the signature has no other output

    def __str__(self):
        number = "" if self.version is None else f", version {self.version}"
        return f"{self.model}{number}"


class Patience(NamedTuple):
    """How long a request is tried."""

    deadline: float  # seconds for one try
    retries: int  # further tries, at least
    seconds: float = 0.0  # of pauses in all, at least


class Rows(NamedTuple):
    """What came back for consecutive images."""

    positions: range
    status: list  # of str, "ok" or a reason
    columns: dict  # alias to an array [n, ...]; NaN, -1 or "" without answer


def patiently(call, patience, sleep=time.sleep):
    """`call()`, tried again after a pause while its fault may pass.

    What was too much is tried again once: each try may take its deadline.

    Raises:
      Fault: the last one.
    """
    paused, attempt = 0.0, 0
    while True:
        try:
            return call()
        except Fault as fault:
            if fault.kind in (REFUSED, FATAL):
                raise
            heavy = fault.kind == HEAVY
            enough = min(1, patience.retries) if heavy else patience.retries
            if attempt >= enough and (heavy or paused >= patience.seconds):
                raise
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
        # Clients that failed together should not come back together.
        pause *= random.uniform(0.5, 1)
        sleep(pause)
        paused, attempt = paused + pause, attempt + 1


class Sender:
    """Sends images and puts their answers in order.

    Args:
      transport: as `transport.connect` returns it.
      target: `Target`. patience: `Patience`.
      pictures: `Pictures`.
      request_bytes: int, of the images in a request; one more may pass it.
    """

    def __init__(self, transport, target, patience, pictures, *, request_bytes):
        self._transport, self._target = transport, target
        self._patience, self._pictures = patience, pictures
        self._request_bytes = request_bytes
        self._shapes: dict[str, tuple] = {}  # of rows that had an answer
        self._heavy = 0  # images in a row that were too much alone

    def all_rows(self, batches, concurrency):
        """Yields `Rows` of each batch, in order.

        Raises:
          ServingError: if no request can succeed.
        """
        pool = concurrent.futures.ThreadPoolExecutor(concurrency)
        waiting: collections.deque = collections.deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(self.rows, batch))
                # What is finished out of order waits in memory: a bound to it.
                if len(waiting) > 2 * concurrency:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            self._transport.close()  # ends the requests that are under way
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def rows(self, batch):
        """The `Rows` of one batch, in one request or, of large files, more."""
        data: list[bytes] = []
        answers: list = []
        status: list[str] = []
        for position in batch:
            try:
                data.append(self._pictures.encoded(position))
                status.append(_OK)
            except Unsendable as reason:
                status.append(f"not sent: {reason}")
            if sum(map(len, data)) >= self._request_bytes:
                answers += self._answers(data)
                data = []
        answers += self._answers(data) if data else []
        sent = iter(answers)
        whole = [next(sent) if s == _OK else s for s in status]
        return self._joined(batch, whole)

    def _answers(self, data):
        """For each image its row of all columns, or the reason without."""
        target = self._target
        inputs = {target.input: data}

        def ask():
            return self._transport.predict(
                target, inputs, list(target.outputs), self._patience.deadline
            )

        try:
            columns = patiently(ask, self._patience)
        except Fault as fault:
            self._give_up_on(fault, len(data))
            if len(data) == 1:
                return [f"refused: {fault}"]
            half = len(data) // 2
            return self._answers(data[:half]) + self._answers(data[half:])
        self._heavy = 0
        return [
            {name: column[i] for name, column in columns.items()}
            for i in range(len(data))
        ]

    def _give_up_on(self, fault, count):
        """Raises unless the fault is that of this request of `count` images."""
        if fault.kind == FATAL:
            raise ServingError(
                f"the server no longer answers for {self._target}: {fault}. "
                f"{_KEPT}"
            ) from fault
        if fault.kind == REFUSED:
            return
        why = str(fault)
        if fault.kind == HEAVY:
            why = self._why_silent(count, fault)
        if why:
            raise ServingError(
                f"the server does not answer after further tries: {why}. "
                f"{_KEPT}"
            ) from fault

    def _why_silent(self, count, fault):
        """What is wrong with a server after a heavy request; "" for nothing.

        One that still describes its model says that the request was too much.
        """
        target, deadline = self._target, self._patience.deadline
        try:
            self._transport.describe(
                target.model, target.version, None, deadline
            )
        except Fault as second:
            return str(second)
        self._heavy += count == 1
        if self._heavy < _MOST_HEAVY:
            return ""
        return (
            f"{self._heavy} images in a row had no answer, each alone "
            f"({fault}). A longer --deadline, or fewer requests at a time "
            "(--concurrency), may help"
        )

    def _joined(self, batch, whole):
        status, columns = [], {}
        for row in whole:
            if isinstance(row, str):
                status.append(row)
                continue
            word = row.get(_STATUS, _OK)
            status.append(word.decode() if isinstance(word, bytes) else word)
            self._shapes = {n: np.shape(x) for n, x in row.items()}
        for name, about in self._target.outputs.items():
            if name == _STATUS:
                continue
            shape = self._shapes.get(name, _shape_of(about))
            columns[name] = np.stack(
                [
                    _nothing(about.dtype, shape)
                    if isinstance(row, str)
                    else row[name]
                    for row in whole
                ]
            )
        return Rows(batch, status, columns)


def _shape_of(about):
    """The shape of a row, from the signature; open sides count as 0."""
    return tuple(max(0, side) for side in (about.shape or (0,))[1:])


def _nothing(dtype, shape):
    """What stands in a row without an answer."""
    if dtype == "object":
        return np.full(shape, b"", object)
    kind = np.dtype(dtype)
    return np.full(shape, np.nan if kind.kind == "f" else -1, kind)

"""A server and its images in memory, for what the client makes of faults."""

import numpy as np

from export.serving import sending, transport
from export.serving.faults import TRANSIENT, Fault

COLUMNS = {
    "features": transport.Column("float32", (-1, 2)),
    "cluster": transport.Column("int64", (-1,)),
}
TARGET = sending.Target("mine", 1, "serving_default", "image_bytes", COLUMNS)
PATIENCE = sending.Patience(deadline=5, retries=3)


class Pictures:
    """Image i is its number in `length` digits."""

    def __init__(self, count, length=3):
        self.count, self.length = count, length

    def encoded(self, position):
        return b"%0*d" % (self.length, position)

    def batches(self, rows, begin=0):
        for first in range(begin, self.count, rows):
            yield range(first, min(first + rows, self.count))


class Transport:
    """Answers features [i, i] and cluster i; `trouble` may raise."""

    def __init__(self, trouble=lambda data: None, alive=True):
        self.trouble, self.alive = trouble, alive
        self.calls, self.closed = [], False

    def describe(self, model, version, label, deadline):
        if not self.alive:
            raise Fault(TRANSIENT, "connection refused")

    def predict(self, target, inputs, outputs, deadline):
        data = [int(x) for x in inputs["image_bytes"]]
        self.calls.append(data)
        self.trouble(data)
        numbers = np.array(data)
        features = np.stack([numbers, numbers], axis=1).astype(np.float32)
        return {"features": features, "cluster": numbers}

    def close(self):
        self.closed = True

"""TF Serving over gRPC."""

import numpy as np

from export.serving.faults import (
    FATAL,
    HEAVY,
    REFUSED,
    TRANSIENT,
    Fault,
    ServingError,
    is_out_of_memory,
)
from export.serving.transport import checked_answer, described

_TRANSIENT = ("UNAVAILABLE", "ABORTED", "CANCELLED")
_FATAL = (
    "NOT_FOUND",
    "UNIMPLEMENTED",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "FAILED_PRECONDITION",
)


class GrpcTransport:
    """A channel that all threads share.

    Args:
      host: str. port: int.

    Raises:
      ServingError: if the generated stubs are not installed.
    """

    def __init__(self, host, port):
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise ServingError(
                "grpc:// needs the generated stubs of TF Serving. Received: "
                f'{error}. Install them: pip install "tfclust[serving]", or '
                "use http://."
            ) from error
        host = f"[{host}]" if ":" in host else host
        self._error = grpc.RpcError
        self._channel = grpc.insecure_channel(
            f"{host}:{port}",
            options=[
                # Answers of large batches exceed the usual 4 MB.
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_retries", 0),  # `sending` does it
            ],
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    def describe(self, model, version, label, deadline):
        from tensorflow_serving.apis import get_model_metadata_pb2 as apis

        request = apis.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill(request.model_spec, model, version, label)
        response = self._call(self._stub.GetModelMetadata, request, deadline)
        found = apis.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        number = response.model_spec.version.value
        return described(model, number, found.signature_def)

    def predict(self, target, inputs, outputs, deadline):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(output_filter=list(outputs))
        _fill(request.model_spec, target.model, target.version, None)
        request.model_spec.signature_name = target.signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        response = self._call(self._stub.Predict, request, deadline)
        answered = response.model_spec.version.value
        if target.version is not None and answered != target.version:
            raise Fault(
                FATAL,
                f"version {answered} answered in place of {target.version}",
            )
        rows = len(next(iter(inputs.values())))
        return checked_answer(
            {name: tf.make_ndarray(response.outputs[name]) for name in outputs},
            rows,
        )

    def close(self):
        """Ends the channel; calls under way fail at once."""
        self._channel.close()

    def _call(self, method, request, deadline):
        try:
            return method(request, timeout=deadline)
        except self._error as error:
            name, words = error.code().name, error.details() or ""
            kind = REFUSED
            # Also said when a queue is full, which passes.
            too_large = "larger than max" in words
            if name == "DEADLINE_EXCEEDED" or is_out_of_memory(words):
                kind = HEAVY
            elif name in _TRANSIENT or (
                name == "RESOURCE_EXHAUSTED" and not too_large
            ):
                kind = TRANSIENT
            elif name in _FATAL:
                kind = FATAL
            raise Fault(kind, f"{_said(name)}: {words}") from error
        except ValueError as error:  # the channel is closed
            raise Fault(FATAL, str(error)) from error


def _said(name):
    return name.lower().replace("_", " ")


def _fill(spec, model, version, label):
    spec.name = model
    if version is not None:
        spec.version.value = int(np.int64(version))
    elif label is not None:
        spec.version_label = label

"""TF Serving's gRPC services, PredictionService and ModelService."""

import concurrent.futures
import math

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.serving.local.models import INVALID, Refused, answer

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata.

    Args:
      models: `Models`.
      max_bytes: int, of a request's tensors when unpacked.
    """

    def __init__(self, models, max_bytes):
        self.models, self.max_bytes = models, max_bytes

    def Predict(self, request, context):
        return _answered(context, lambda: self._predict(request))

    def GetModelMetadata(self, request, context):
        return _answered(context, lambda: self._metadata(request))

    def _predict(self, request):
        version = _version(self.models, request.model_spec)
        signature = request.model_spec.signature_name or "serving_default"
        inputs = {
            name: _array(name, proto, self.max_bytes)
            for name, proto in request.inputs.items()
        }
        found = answer(version, signature, inputs, request.output_filter)
        response = predict_pb2.PredictResponse()
        _name(response.model_spec, version)
        response.model_spec.signature_name = signature
        for name, array in found.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response

    def _metadata(self, request):
        if list(request.metadata_field) != ["signature_def"]:
            raise Refused(INVALID, "metadata_field must be signature_def")
        version = _version(self.models, request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _name(response.model_spec, version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, spec in version.session.signatures.items():
            signatures.signature_def[name].CopyFrom(spec)
        response.metadata["signature_def"].Pack(signatures)
        return response


class Status(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus: which versions are loaded."""

    def __init__(self, models):
        self.models = models

    def GetModelStatus(self, request, context):
        return _answered(context, lambda: self._status(request.model_spec))

    def _status(self, spec):
        numbers = self.models.versions(spec.name)
        if spec.WhichOneof("version_choice"):
            numbers = [_version(self.models, spec).number]
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in numbers:
            state = response.model_version_status.add(version=number)
            state.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return response


def start(models, address, *, threads, max_bytes):
    """Starts a server.

    Args:
      models: `Models`.
      address: str, `host:port`; port 0 for a free one.
      threads: int, requests at a time; more wait.
      max_bytes: int, of a request; a larger one is refused unread.

    Returns:
      `grpc.Server`, and int, its port.

    Raises:
      OSError: if the port is taken.
    """
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(threads),
        options=[
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_send_message_length", -1),
            # Else a second server would share the port of the first.
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Prediction(models, max_bytes), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        Status(models), server
    )
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"{address} cannot be listened on: {error}") from error
    server.start()
    return server, port


def _answered(context, call):
    try:
        return call()
    except Refused as refused:
        code = _CODES.get(refused.code, grpc.StatusCode.UNKNOWN)
        context.abort(code, str(refused))


def _version(models, spec):
    choice = spec.WhichOneof("version_choice")
    number = spec.version.value if choice == "version" else None
    label = spec.version_label if choice == "version_label" else None
    return models.find(spec.name, number, label)


def _name(spec, version):
    spec.name = version.model
    spec.version.value = version.number


def _array(name, proto, max_bytes):
    """The array of a TensorProto, whose shape may promise more than it has."""
    try:
        kind = tf.dtypes.as_dtype(proto.dtype)
        sides = [dim.size for dim in proto.tensor_shape.dim]
        needed = math.prod(sides) * (kind.size or 1)
        if min(sides, default=0) < 0 or needed > max_bytes:
            raise ValueError(f"shape {sides}")
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise Refused(INVALID, f"input {name} is malformed: {error}") from error

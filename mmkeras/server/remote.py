"""gRPC as TensorFlow Serving speaks it: PredictionService and ModelService."""

import logging
import math
import time

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from mmkeras.server.refusal import Refusal

LOG = logging.getLogger("mmkeras.server")
METADATA = "signature_def"
# Bytes that NumPy takes for each string beside its own.
POINTER = 8
# Where a `TensorProto` keeps values one by one, as TensorFlow Serving sends them and clients read.
FIELDS = {
    "object": "string_val",
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "uint8": "int_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
}


def grpc_server(service):
    """A `grpc.aio` server of a `Service`, which is not bound to a port yet."""
    server = grpc.aio.server(
        interceptors=[_Reading()],
        options=[
            ("grpc.max_receive_message_length", service.limits.body_size),
            ("grpc.max_send_message_length", -1),
            # Else two servers could share a port, and nobody would know which one answers.
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Predictions(service), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service), server)
    return server


class _Reading(grpc.aio.ServerInterceptor):
    """Hands on what is no message as the error that it makes: gRPC would log it as a fault here."""

    async def intercept_service(self, continuation, details):
        handler = await continuation(details)
        if handler is None:
            return None

        def read(data):
            try:
                return handler.request_deserializer(data)
            except DecodeError as error:
                return error

        return grpc.unary_unary_rpc_method_handler(
            handler.unary_unary, read, handler.response_serializer
        )


def _method(answer):
    """A method of gRPC from a coroutine that may raise a `Refusal`."""

    async def method(self, request, context):
        start, code, name = time.perf_counter(), grpc.StatusCode.CANCELLED, ""
        try:
            if isinstance(request, DecodeError):
                raise Refusal("INVALID_ARGUMENT", f"Malformed request: {request}")
            name = request.model_spec.name
            headers = dict(context.invocation_metadata())
            self.service.check_token(headers.get("authorization"))
            response = await answer(self, request, context)
            code = grpc.StatusCode.OK
            return response
        except Refusal as refusal:
            code = getattr(grpc.StatusCode, refusal.kind, grpc.StatusCode.INTERNAL)
            await context.abort(code, str(refusal))
        finally:
            milliseconds = 1000 * (time.perf_counter() - start)
            asked = f"{answer.__name__} {name!r}"
            LOG.info("%s %s %s %.1f ms", context.peer(), asked, code.name, milliseconds)

    return method


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service):
        self.service = service

    @_method
    async def Predict(self, request, context):
        spec = request.model_spec
        with self.service.counted(spec.name, "GRPC"):
            version = _find(self.service, spec)
            specs = version.specs(spec.signature_name)
            inputs = {
                name: _array(name, proto, specs, self.service.limits.body_size)
                for name, proto in request.inputs.items()
            }
            answers = await self.service.predict(
                version, spec.signature_name, inputs, context.time_remaining()
            )
            wanted = list(request.output_filter) or list(answers)
            if unknown := set(wanted) - set(answers):
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {sorted(unknown)}. "
                    f"It should be one of {sorted(answers)}",
                )
            response = predict_pb2.PredictResponse()
            _describe(response.model_spec, version, spec.signature_name or "serving_default")
            for name in wanted:
                _fill(response.outputs[name], answers[name])
            return response

    @_method
    async def GetModelMetadata(self, request, context):
        if list(request.metadata_field) != [METADATA]:
            raise Refusal(
                "INVALID_ARGUMENT",
                f"`metadata_field` should be [{METADATA!r}]. "
                f"Received: {list(request.metadata_field)}",
            )
        version = _find(self.service, request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _describe(response.model_spec, version, "")
        response.metadata[METADATA].Pack(signatures)
        return response

    @_method
    async def Classify(self, request, context):
        spec = request.model_spec
        with self.service.counted(spec.name, "GRPC"):
            version = _find(self.service, spec)
            version.check_verb(spec.signature_name, "classify")
            answers = await self.service.predict(
                version,
                spec.signature_name,
                {"inputs": _examples(request.input)},
                context.time_remaining(),
            )
            response = classification_pb2.ClassificationResponse()
            _describe(response.model_spec, version, spec.signature_name)
            for row in zip(answers["classes"], answers["scores"], strict=True):
                added = response.result.classifications.add()
                for label, score in zip(*row, strict=True):
                    added.classes.add(label=label.decode("utf-8", "replace"), score=score)
            return response

    @_method
    async def Regress(self, request, context):
        spec = request.model_spec
        _find(self.service, spec).check_verb(spec.signature_name, "regress")


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service):
        self.service = service

    @_method
    async def GetModelStatus(self, request, context):
        spec = request.model_spec
        number = spec.version.value if spec.HasField("version") else None
        if spec.version_label:
            number = _find(self.service, spec).number
        response = get_model_status_pb2.GetModelStatusResponse()
        states = get_model_status_pb2.ModelVersionStatus.State
        for other, state, error in self.service.bundles.status(spec.name, number):
            status = response.model_version_status.add(version=other, state=states.Value(state))
            status.status.error_code = error_codes_pb2.UNKNOWN if error else error_codes_pb2.OK
            status.status.error_message = error
        return response


def _find(service, spec):
    number = spec.version.value if spec.HasField("version") else None
    return service.bundles.find(spec.name, number, spec.version_label or None)


def _describe(model_spec, version, signature):
    model_spec.name, model_spec.signature_name = version.name, signature
    model_spec.version.value = version.number


def _array(name, proto, specs, most):
    if name not in specs:
        raise Refusal(
            "INVALID_ARGUMENT",
            f"input tensor alias not found in signature: {name}. "
            f"It should be one of {sorted(specs)}",
        )
    dtype = specs[name].dtype
    if proto.dtype != dtype.as_datatype_enum:
        raise Refusal(
            "INVALID_ARGUMENT", f"Input {name!r} should be {dtype.name}. Received: {_type(proto)}"
        )
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        raise Refusal("INVALID_ARGUMENT", f"Input {name!r} should have a whole shape")
    # One value may stand for a whole tensor, of any size.
    if math.prod(sizes) * _width(proto, dtype) > most:
        raise Refusal("INVALID_ARGUMENT", f"Input {name!r} should have {most} bytes at most")
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise Refusal("INVALID_ARGUMENT", f"Input {name!r} is malformed: {error}") from None


def _examples(given):
    """The examples of a request, serialized; what all have in common stands before each."""
    several = getattr(given, given.WhichOneof("kind") or "example_list")
    context = b""
    if given.HasField("example_list_with_context"):
        context = several.context.SerializeToString()
    if not several.examples:
        raise Refusal("INVALID_ARGUMENT", "Input is empty.")
    serialized = np.empty(len(several.examples), object)
    serialized[:] = [context + example.SerializeToString() for example in several.examples]
    return serialized


def _type(proto):
    try:
        return tf.dtypes.as_dtype(proto.dtype).name
    except TypeError:
        return f"no type ({proto.dtype})"


def _width(proto, dtype):
    """Bytes that a value takes at least; of strings, that one which stands for many does."""
    repeated = len(proto.string_val) == 1 and len(proto.string_val[0])
    return dtype.size or POINTER + repeated


def _fill(proto, array):
    field = FIELDS.get(array.dtype.name)
    if field is None:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    getattr(proto, field).extend(array.ravel().tolist())

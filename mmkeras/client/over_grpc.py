"""Asking over gRPC."""

import array
import contextlib
import math

import grpc

from mmkeras.client import messages
from mmkeras.client.transport import Failure, Spec

PREDICT, METADATA = "Predict", "GetModelMetadata"
ANSWERS = {PREDICT: messages.PredictResponse, METADATA: messages.MetadataResponse}
# Of types: their number, where their values stand, and the code of `array` for their bytes.
TYPES = {
    "DT_FLOAT": (1, "float_val", "f"),
    "DT_DOUBLE": (2, "double_val", "d"),
    "DT_INT32": (3, "int_val", "i"),
    "DT_UINT8": (4, "int_val", "B"),
    "DT_INT16": (5, "int_val", "h"),
    "DT_INT8": (6, "int_val", "b"),
    "DT_STRING": (7, "string_val", None),
    "DT_INT64": (9, "int64_val", "q"),
    "DT_BOOL": (10, "bool_val", "B"),
    "DT_UINT32": (22, "uint32_val", "I"),
    "DT_UINT64": (23, "uint64_val", "Q"),
}
NAMES = {number: name for name, (number, _, _) in TYPES.items()}


class Grpc:
    """Requests and answers of one model over gRPC, see `transport`."""

    def __init__(self, url, model, version, token, timeout, asynchronous):
        self._spec = messages.ModelSpec(name=model)
        if isinstance(version, int):
            self._spec.version.value = version
        elif version is not None:
            self._spec.version_label = version
        self._metadata = [("authorization", f"Bearer {token}")] if token is not None else []
        self._timeout = timeout
        module = grpc.aio if asynchronous else grpc
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = module.insecure_channel(url.removeprefix("grpc://"), options)
        self._methods = {
            method: self._channel.unary_unary(
                f"/tensorflow.serving.PredictionService/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            for method, answer in ANSWERS.items()
        }

    def metadata_request(self):
        fields = ["signature_def"]
        return METADATA, messages.MetadataRequest(model_spec=self._spec, metadata_field=fields)

    def read_metadata(self, answer):
        packed = next(each.value for each in answer.metadata if each.key == "signature_def")
        signatures = messages.Signatures.FromString(packed.value)
        return {
            named.key: {
                side: {each.key: _spec(each.value) for each in getattr(named.value, side)}
                for side in ("inputs", "outputs")
            }
            for named in signatures.signature_def
        }

    def predict_request(self, signature, inputs, specs):
        request = messages.PredictRequest(model_spec=self._spec)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs.add(key=name, value=_tensor(name, values, specs[name]))
        return PREDICT, request

    def read_answer(self, answer, specs):
        return {
            each.key: _values(each.value, each.key.endswith("_bytes")) for each in answer.outputs
        }

    def send(self, request):
        with _failures():
            return self._call(request)

    async def send_async(self, request):
        with _failures():
            return await self._call(request)

    def _call(self, request):
        method, message = request
        return self._methods[method](message, timeout=self._timeout, metadata=self._metadata)

    def close(self):
        """Closes, or gives a coroutine that does."""
        return self._channel.close()


@contextlib.contextmanager
def _failures():
    try:
        yield
    except grpc.RpcError as error:
        raise Failure(error.code().name, error.details()) from None


def _spec(info):
    return Spec(NAMES.get(info.dtype, "?"), [dim.size for dim in info.tensor_shape.dim])


def _tensor(name, values, spec):
    if spec.dtype not in TYPES:
        raise ValueError(f"Input {name!r} has a type that is not supported over gRPC")
    number, field, _ = TYPES[spec.dtype]
    tensor = messages.Tensor(dtype=number)
    shape = _shape(values)
    flat = [values]
    for size in shape:
        if not all(isinstance(each, list) and len(each) == size for each in flat):
            raise ValueError(f"Input {name!r} should have rows of one shape")
        flat = [value for each in flat for value in each]
    if 0 in shape:
        # Lists cannot tell what stands behind an axis without places.
        shape += [max(size, 0) for size in spec.shape[len(shape) :]]
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    if spec.dtype == "DT_STRING":
        flat = [value.encode() if isinstance(value, str) else value for value in flat]
    try:
        getattr(tensor, field).extend(flat)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Input {name!r}: {error}") from None
    return tensor


def _shape(values):
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        values = values[0] if values else None
    return shape


def _values(tensor, raw):
    name = NAMES.get(tensor.dtype)
    if name is None:
        raise ValueError(f"An answer has the type {tensor.dtype}, which is not supported")
    _, field, code = TYPES[name]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    values = list(getattr(tensor, field))
    if tensor.tensor_content:
        values = array.array(code, tensor.tensor_content).tolist()
    if name == "DT_BOOL":
        values = list(map(bool, values))
    if name == "DT_STRING" and not raw:
        values = [value.decode("utf-8", "replace") for value in values]
    # What repeats at the end is sent once.
    values += values[-1:] * (math.prod(shape) - len(values))
    return _nested(values, shape)


def _nested(values, shape):
    if not shape:
        return values[0]
    for size in reversed(shape[1:]):
        if not size:
            return _empty(shape)
        values = [values[start : start + size] for start in range(0, len(values), size)]
    return values


def _empty(shape):
    return [_empty(shape[1:]) for _ in range(shape[0])]

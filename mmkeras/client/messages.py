"""The messages of TensorFlow Serving's gRPC that a client needs, without TensorFlow.

The modules of `tensorflow-serving-api` import TensorFlow. These messages are the same on the wire,
kept in a pool of their own beside those, with maps as the lists of pairs that they are there.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Each message: field -> number and type; `*` stands before what is repeated.
MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "double_val": (6, "*double"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
        "uint32_val": (16, "*uint32"),
        "uint64_val": (17, "*uint64"),
    },
    "NamedTensor": {"key": (1, "string"), "value": (2, "Tensor")},
    "Version": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Version"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "*NamedTensor")},
    "PredictResponse": {"outputs": (1, "*NamedTensor")},
    "MetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "*string")},
    "MetadataResponse": {"metadata": (2, "*NamedAny")},
    "NamedAny": {"key": (1, "string"), "value": (2, "Any")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "Signatures": {"signature_def": (1, "*NamedSignature")},
    "NamedSignature": {"key": (1, "string"), "value": (2, "Signature")},
    "Signature": {"inputs": (1, "*NamedInfo"), "outputs": (2, "*NamedInfo")},
    "NamedInfo": {"key": (1, "string"), "value": (2, "Info")},
    "Info": {"dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
}


def _classes():
    file = descriptor_pb2.FileDescriptorProto(
        name="mmkeras/client.proto", package="mmkeras", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = field.LABEL_REPEATED if kind[0] == "*" else field.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            one = described.field.add(name=name, number=number, label=label)
            if kind in MESSAGES:
                one.type, one.type_name = field.TYPE_MESSAGE, f".mmkeras.{kind}"
            else:
                one.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = ((name, pool.FindMessageTypeByName(f"mmkeras.{name}")) for name in MESSAGES)
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found}


globals().update(_classes())

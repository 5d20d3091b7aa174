"""Answers photos through libtensorflow's C API, as a server does: no TensorFlow for Python.

python -I capi.py EXPORT SIGNATURE PHOTO... prints as JSON the outputs for the photos and for none,
the error for bytes that are no photo, and the times.
"""

import ctypes
import importlib.util
import json
import os
import sys
import time

FLOAT, STRING = 1, 7
POINTERS = (
    "TF_AllocateTensor",
    "TF_GraphOperationByName",
    "TF_LoadSessionFromSavedModel",
    "TF_NewGraph",
    "TF_NewSessionOptions",
    "TF_NewStatus",
    "TF_StringGetDataPointer",
    "TF_TensorData",
)


class Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes that TensorFlow owns."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    )


class String(ctypes.Structure):
    """TF_TString: one string of a tensor, 24 bytes."""

    _fields_ = (("bytes", ctypes.c_uint8 * 24),)


def library():
    folder = os.path.dirname(importlib.util.find_spec("tensorflow").origin)
    ctypes.CDLL(os.path.join(folder, "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    tf = ctypes.CDLL(os.path.join(folder, "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
    for name in POINTERS:
        getattr(tf, name).restype = ctypes.c_void_p
    tf.TF_Message.restype = ctypes.c_char_p
    tf.TF_Dim.restype = ctypes.c_int64
    tf.TF_StringGetSize.restype = ctypes.c_size_t
    return tf


class Session:
    """A SavedModel loaded by the C++ loader, with XLA compilation disabled as a server has it."""

    def __init__(self, path):
        self.tf = library()
        # tensorflow::DisableXlaCompilation(), which the stock server calls before it loads a model.
        self.tf._ZN10tensorflow21DisableXlaCompilationEv()
        self.status = ctypes.c_void_p(self.tf.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.tf.TF_NewGraph())
        meta_graph = Buffer()
        options = ctypes.c_void_p(self.tf.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self.session = ctypes.c_void_p(
            self.tf.TF_LoadSessionFromSavedModel(
                options, None, path.encode(), tags, 1, self.graph, ctypes.byref(meta_graph),
                self.status,
            )
        )  # fmt: skip
        self.check()
        self.meta_graph = ctypes.string_at(meta_graph.data, meta_graph.length)

    def check(self):
        if self.tf.TF_GetCode(self.status):
            raise RuntimeError(self.tf.TF_Message(self.status).decode())

    def output(self, name):
        operation, index = name.split(":")
        found = self.tf.TF_GraphOperationByName(self.graph, operation.encode())
        return Output(found, int(index))

    def strings(self, values):
        size = ctypes.sizeof(String) * len(values)
        shape = (ctypes.c_int64 * 1)(len(values))
        tensor = ctypes.c_void_p(self.tf.TF_AllocateTensor(STRING, shape, 1, ctypes.c_size_t(size)))
        cells = (String * len(values)).from_address(self.tf.TF_TensorData(tensor) or 0)
        for cell, value in zip(cells, values, strict=True):
            self.tf.TF_StringInit(ctypes.byref(cell))
            self.tf.TF_StringCopy(ctypes.byref(cell), value, ctypes.c_size_t(len(value)))
        return tensor

    def read(self, tensor):
        shape = [self.tf.TF_Dim(tensor, i) for i in range(self.tf.TF_NumDims(tensor))]
        count = 1
        for size in shape:
            count *= size
        data = self.tf.TF_TensorData(tensor) or 0
        if self.tf.TF_TensorType(tensor) == FLOAT:
            values = list((ctypes.c_float * count).from_address(data))
        else:
            values = [self.string(cell) for cell in (String * count).from_address(data)]
        for size in reversed(shape[1:]):
            values = [values[i : i + size] for i in range(0, len(values), size)]
        return values

    def string(self, cell):
        data = self.tf.TF_StringGetDataPointer(ctypes.byref(cell))
        size = self.tf.TF_StringGetSize(ctypes.byref(cell))
        return ctypes.string_at(data, size).decode()

    def run(self, inputs, outputs):
        """Strings by tensor name and tensor names by key -> values by key."""
        feeds = (Output * len(inputs))(*map(self.output, inputs))
        tensors = (ctypes.c_void_p * len(inputs))(
            *(self.strings(values).value for values in inputs.values())
        )
        fetches = (Output * len(outputs))(*map(self.output, outputs.values()))
        results = (ctypes.c_void_p * len(outputs))()
        self.tf.TF_SessionRun(
            self.session, None, feeds, tensors, len(inputs), fetches, results, len(outputs),
            None, 0, None, self.status,
        )  # fmt: skip
        self.check()
        return {
            key: self.read(ctypes.c_void_p(result))
            for key, result in zip(outputs, results, strict=True)
        }


def fields(message):
    """The fields of a protocol buffer: `(number, value)`, values as bytes or int."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key % 8 == 0:
            yield key // 8, varint()
        else:
            size = {1: 8, 5: 4}.get(key % 8) or varint()
            yield key // 8, message[at : at + size]
            at += size


def signature(meta_graph, name):
    """The tensor names of a signature: of its inputs and of its outputs, by key.

    MetaGraphDef.signature_def (5) is a map; SignatureDef has inputs (1) and outputs (2), maps of
    TensorInfo, whose name is field 1.
    """
    for number, entry in fields(meta_graph):
        if number == 5 and (entry := dict(fields(entry)))[1].decode() == name:
            tensors = ({}, {})
            for kind, pair in fields(entry[2]):
                if kind in (1, 2):
                    pair = dict(fields(pair))
                    tensors[kind - 1][pair[1].decode()] = dict(fields(pair[2]))[1].decode()
            return tensors
    raise ValueError(f"no signature {name}")


def main(path, name, *photos):
    start = time.perf_counter()
    session = Session(path)
    loaded = time.perf_counter()
    inputs, outputs = signature(session.meta_graph, name)
    contents = [open(photo, "rb").read() for photo in photos]  # noqa: SIM115

    def answer(values):
        return session.run({inputs["image_bytes"]: values}, outputs)

    told = {"answers": answer(contents)}
    first = time.perf_counter()
    answer(contents)
    told["seconds"] = {
        "load": loaded - start,
        "first": first - loaded,
        "second": time.perf_counter() - first,
    }
    told["empty"] = answer([])
    try:
        answer([contents[0], b"no photo"])
    except RuntimeError as error:
        told["error"] = str(error)
    told["python"] = "tensorflow" in sys.modules
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])

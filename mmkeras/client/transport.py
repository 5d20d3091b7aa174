"""What REST and gRPC have in common for a client.

A transport makes requests (`metadata_request`, `predict_request`), sends them (`send`,
`send_async`) and reads what comes back (`read_metadata`, `read_answer`).
"""

import dataclasses

# Of kinds of failures, in gRPC's words: the exception that people get.
EXCEPTIONS = {
    "INVALID_ARGUMENT": ValueError,
    "FAILED_PRECONDITION": ValueError,
    "OUT_OF_RANGE": ValueError,
    "RESOURCE_EXHAUSTED": ValueError,
    "NOT_FOUND": LookupError,
    "PERMISSION_DENIED": PermissionError,
    "UNAUTHENTICATED": PermissionError,
    "UNAVAILABLE": ConnectionError,
    "DEADLINE_EXCEEDED": TimeoutError,
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a tensor may be: TensorFlow's name of its type, and its sizes, -1 for any."""

    dtype: str
    shape: list


class Failure(Exception):
    """A request came to nothing.

    Args:
        kind: In gRPC's words, such as `"UNAVAILABLE"`.
        message: What the server says, or why there is none.
    """

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind

    def exception(self, where):
        """The exception that people get, which says where it was."""
        return EXCEPTIONS.get(self.kind, RuntimeError)(f"{where}: {self}")

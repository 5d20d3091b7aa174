"""Why a request is refused: one exception for REST and gRPC, with gRPC's words for the kinds."""

# The HTTP status that TensorFlow Serving gives each kind; what it has no kind for comes last.
HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "REQUEST_TIMEOUT": 408,
    "TOO_LARGE": 413,
}


class Refusal(Exception):
    """A request is not answered.

    Args:
        kind: One of `HTTP_STATUS`.
        message: For who asked.
    """

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind if kind in HTTP_STATUS else "INTERNAL"

    @property
    def http_status(self):
        return HTTP_STATUS[self.kind]

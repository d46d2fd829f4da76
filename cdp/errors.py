"""Every error a user can meet: what is wrong, and what to do next."""


class CdpError(Exception):
    """A failure with a cause a person can act on.

    Args:
        message: What is wrong, in one sentence and without personal data.
        hint: What to do next, in one sentence.
    """

    status_code = 500
    title = "Internal error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class ConfigError(CdpError):
    """A setting or YAML file that cannot be used; names file, line and what was expected."""

    title = "Configuration error"


class WorkspaceError(CdpError):
    """The workspace is missing, too old or damaged."""

    title = "Workspace error"


class StoreUnavailable(CdpError):
    """The database cannot be reached."""

    status_code = 503
    title = "Store unavailable"


class Invalid(CdpError):
    """What is asked cannot be meant; a subclass says in which way."""

    status_code = 422
    title = "Invalid request"


class Conflict(CdpError):
    """What is asked contradicts what stands."""

    status_code = 409
    title = "Conflict"


class Busy(CdpError):
    """Another run, erasure or maintenance job holds the queue."""

    status_code = 409
    title = "Another run is in progress"


class LakeError(CdpError):
    """The lake refused a read or a write; the last snapshot stands."""

    title = "Lake error"


class UnreadableFile(CdpError):
    """A landing file that cannot be read as the format its source declares."""

    title = "Unreadable file"


class NotFound(CdpError):
    """Nothing is stored under this id."""

    status_code = 404
    title = "Not found"

"""Error families, by who can act on them.

    BridgeError
    ├── AdminError                  the admin must change something
    │   ├── ConfigError             a configuration key, file or environment variable
    │   ├── RegistrationError       the homeserver does not know us as configured
    │   └── StorageError            the database is absent, newer, or broken
    ├── UserError                   the user asked for something that cannot be done as asked
    │   ├── NotAllowed              the admin does not let them
    │   └── TooOften                they have to wait
    ├── NotYet                      nobody need act: something else comes first, and soon
    ├── HomeserverError             the homeserver refused or failed
    │   └── HomeserverAway          no connection can be made to it
    └── NetworkError                the foreign network refused or failed
        └── CredentialsError        the network no longer accepts this login

The rule that must never break: ``str(error)`` is a sentence that a person may read. It names no
secret and no message body, and says what to do next when there is something to do.

Every error also says whether the outcome is *certain* (the attempt surely had no effect) and
whether trying again, unchanged, can help.
"""

from __future__ import annotations


class BridgeError(Exception):
    """Base of all expected errors.

    ``message``: one or two plain sentences for a person.
    ``certain``: True when the attempt surely had no effect; False when it may have had one.
    ``retry_after``: seconds to wait before the same attempt can succeed, or None when it cannot.
    """

    def __init__(
        self, message: str, *, certain: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.certain = certain
        self.retry_after = retry_after


class AdminError(BridgeError):
    """Something that the admin of the bridge must put right."""


class ConfigError(AdminError):
    """A configuration value is missing, unknown or wrong."""


class RegistrationError(AdminError):
    """The homeserver's idea of this application service differs from ours."""


class StorageError(AdminError):
    """The database cannot be used as it is."""


class UserError(BridgeError):
    """A request that cannot be carried out as asked; the message says how to ask instead."""


class NotAllowed(UserError):
    """The bridge's admin does not let this user do it."""


class TooOften(UserError):
    """The same can be asked for again after ``seconds``."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, retry_after=seconds)
        self.seconds = seconds


class NotYet(BridgeError):
    """Something else has to happen first, and is on its way; to be looked at again every ``seconds``."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, certain=True, retry_after=seconds)
        self.seconds = seconds


class HomeserverError(BridgeError):
    """A request to the homeserver failed.

    ``status``: HTTP status, or 0 when no answer came. ``errcode``: Matrix error code, or "".
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        errcode: str = "",
        certain: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, certain=certain, retry_after=retry_after)
        self.status = status
        self.errcode = errcode


class HomeserverAway(HomeserverError):
    """No connection can be made to the homeserver at ``url``."""

    def __init__(self, message: str, url: str) -> None:
        super().__init__(message, certain=True, retry_after=1.0)
        self.url = url


class NetworkError(BridgeError):
    """The foreign network refused or failed."""


class CredentialsError(NetworkError):
    """The network does not accept the credentials (any more); retrying would only lock them out."""


def may_pass(error: BridgeError) -> bool:
    """Whether the same attempt, unchanged, can succeed later.

    A token that the homeserver does not know counts: an admin will put that right, and no message may be
    lost until then.
    """
    return error.retry_after is not None or (
        isinstance(error, HomeserverError) and error.status == 401
    )

"""Who may log in, how often, and how many logins there may be; whichever door somebody comes by.

The rule that must never break: no network is asked about a login that the admin's limits forbid, and the bridge
guesses nobody's password: an account whose network has refused several logins of late has to wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from dm_bridge.bridge.allowance import Allowances
from dm_bridge.bridge.audit_log import AuditLog
from dm_bridge.errors import NotAllowed, TooOften, UserError
from dm_bridge.ids import UserId
from dm_bridge.network.api import Network
from dm_bridge.network.login import AskStep, FieldKind, WaitStep
from dm_bridge.store.audit_log import Act
from dm_bridge.store.logins import NO_LIMITS, Full, LoginLimits, LoginStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.sealing import SealingKey
from dm_bridge.texts import Value, phrase

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """``permitted``: whether a user may use the bridge. ``limits``: how many logins there may be for a user.

    ``attempts``: in an hour, of one user. ``failures``: in an hour, of one user at one account.
    """

    permitted: Callable[[UserId], bool] = lambda user: True
    limits: Callable[[UserId], LoginLimits] = lambda user: NO_LIMITS
    attempts: int = 1_000_000
    failures: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Try:
    """A try at an account, which counts as one in vain until it is taken back. ``seq``: 0 while nobody counts."""

    account: bytes = b""
    seq: int = 0


class Guard:
    """Without ``store`` and ``key``, tries at accounts are not counted. ``clock`` never jumps."""

    def __init__(
        self,
        settings: GuardSettings | None = None,
        store: SafeguardStore | None = None,
        key: SealingKey | None = None,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings or GuardSettings()
        self._store = store
        self._key = key
        self.audit = audit or AuditLog()
        self._attempts = Allowances(self._settings.attempts, HOUR, clock)
        self._stopped: dict[UserId, str] = {}
        self._leaving: set[UserId] = set()

    def limits(self, user: UserId) -> LoginLimits:
        """How many logins there may be for a user."""
        return self._settings.limits(user)

    # -- who is stopped

    async def take(self, users: Collection[UserId] | None) -> None:
        """Learn who of these users is stopped. Raises `StorageError`."""
        if self._store is None:
            return
        found = await self._store.stopped(users)
        for user in list(self._stopped) if users is None else users:
            self._stopped.pop(user, None)
        self._stopped |= {user: stop.reason for user, stop in found.items()}

    def leaving(self, user: UserId, leaves: bool) -> None:
        """Whether a user's data are being erased: then they cannot log in."""
        (self._leaving.add if leaves else self._leaving.discard)(user)

    def barred(self, user: UserId) -> str | None:
        """Why none of the user's logins may be connected, as a sentence for them; or None."""
        if not self._settings.permitted(user):
            return phrase("guard-not-open")
        if user in self._leaving:
            return phrase("guard-leaving")
        reason = self._stopped.get(user)
        if reason is None:
            return None
        if not reason:
            return phrase("guard-stopped")
        return phrase("guard-stopped-because", why=reason.rstrip("."))

    # -- logging in

    async def admit(
        self, user: UserId, network: Network, logins: LoginStore, *, known: bool, door: str
    ) -> None:
        """Let a user begin to log in. Raises `NotAllowed`, `TooOften`, `StorageError`.

        ``known``: they have a login to this network already, which they may be about to make anew.
        """
        await self.take([user])
        try:
            if (why := self.barred(user)) is not None:
                raise NotAllowed(why)
            if wait := self._attempts.take(user):
                raise TooOften(phrase("guard-too-many-attempts", **_in(wait)), wait)
            limits = self.limits(user)
            if not known and limits != NO_LIMITS:
                full = (await logins.counts(user)).full(limits)
                if full is not None:
                    raise self.too_many(user, full)
        except UserError as error:
            await self._refused(user, network, str(error), door)
            raise

    def too_many(self, user: UserId, full: Full) -> NotAllowed:
        """The error that says that there can be no further login."""
        limits = self.limits(user)
        if full is Full.BRIDGE:
            return NotAllowed(phrase("guard-bridge-full", number=limits.bridge or 0))
        if not limits.user:
            return NotAllowed(phrase("guard-no-logins"))
        return NotAllowed(phrase("guard-user-full", number=limits.user))

    async def full(self, user: UserId, network: Network, full: Full, door: str) -> NotAllowed:
        """The network has accepted a login for which there is no room here."""
        error = self.too_many(user, full)
        await self._refused(user, network, str(error), door)
        return error

    async def try_account(
        self,
        user: UserId,
        network: Network,
        step: AskStep | WaitStep,
        values: Mapping[str, str],
        door: str,
    ) -> Try:
        """Somebody is about to try a password. Raises `TooOften`, `StorageError`.

        ``values``: all that they have typed, also in earlier steps, by the names of the fields.
        """
        account = _account(network, step, values)
        if account is None or self._store is None or self._key is None:
            return Try()
        digest = self._key.digest("account", network.name, *account)
        by = self._key.digest("by", user)
        seq, wait = await self._store.try_account(digest, by, self._settings.failures)
        if not wait:
            return Try(digest, seq)
        error = TooOften(phrase("guard-account-refused", **_in(wait)), wait)
        await self._refused(user, network, str(error), door)
        raise error

    async def not_in_vain(self, tried: Try) -> None:
        """The network has not said that the password is wrong. Raises `StorageError`."""
        if tried.seq and self._store is not None:
            await self._store.not_in_vain(tried.seq)

    async def succeeded(self, tried: Try) -> None:
        """The network has accepted it. Raises `StorageError`."""
        if tried.seq and self._store is not None:
            await self._store.succeeded(tried.account)

    async def _refused(self, user: UserId, network: Network, why: str, door: str) -> None:
        details = {"network": network.name, "reason": why}
        await self.audit.record_now_and_then(user, Act.LOGIN_REFUSED, user, details, door)


def _account(
    network: Network, step: AskStep | WaitStep, values: Mapping[str, str]
) -> list[str] | None:
    """Which account a step tries a password of, as far as what was typed tells; None when it tries none.

    What was chosen, and what is asked for together with the password; where that is nothing, all that was typed.
    """
    fields = step.fields if isinstance(step, AskStep) else ()
    secret = {each.name for each in fields if each.kind is FieldKind.SECRET}
    if not secret:
        return None
    beside = [each.name for each in fields if each.kind is not FieldKind.SECRET]
    names = beside or [name for name in values if name not in secret]
    return sorted(f"{name}={_normal(network, values[name])}" for name in names if name in values)


def _normal(network: Network, value: str) -> str:
    try:
        return network.parse_contact(value)
    except UserError:
        return value.strip().casefold()


def _in(seconds: float) -> dict[str, Value]:
    """The values of the message ``guard-when``."""
    if seconds < 90:
        return {"unit": "seconds", "number": max(1, math.ceil(seconds))}
    return {"unit": "minutes", "number": math.ceil(seconds / 60)}

"""The two registrations, as the homeserver has them: tokens, bot, and for whom it lets us act.

The rule that must never break: what is tried is what the bridge does by itself (it registers its own users), or it
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_bridge.app.doctor.findings import Answer, Finding, mend, ok, unknown
from dm_bridge.config import Config
from dm_bridge.config.checks import ACCOUNTS_SUFFIX
from dm_bridge.errors import HomeserverError, RegistrationError
from dm_bridge.ids import ContactId, NetworkName, UserId
from dm_bridge.matrix import ghosts, handshake
from dm_bridge.matrix.homeserver import Homeserver

MAIN, ACCOUNTS = "first registration", "second registration"
GHOSTS, STRANGERS = "ghosts", "strangers"
AGAIN = "Run `dm-bridge registration --force`, give the homeserver the new files, and restart it and the bridge."


@dataclass(frozen=True, slots=True)
class Registered:
    """Whether the homeserver knows the registrations."""

    main: bool
    accounts: bool


def doctors_ghost(config: Config) -> UserId:
    """The ghost that checks are made with; no network is called so."""
    return config.ghosts.user_id(NetworkName("doctor"), ContactId("check"))


def accounts_bot(config: Config) -> UserId:
    """A local user that is ours and no ghost: the sender of the second registration."""
    return UserId(f"@{config.appservice.bot}{ACCOUNTS_SUFFIX}:{config.homeserver.domain}")


async def check_tokens(
    config: Config, homeserver: Homeserver, as_users: Homeserver
) -> Answer[Registered]:
    """Whether both tokens are known, and whose they are. Raises `HomeserverError`."""
    problem: RegistrationError | None = None
    try:
        await handshake.check_identity(homeserver, config.bot_user_id)
    except RegistrationError as error:
        problem = error
    accounts = await handshake.accounts_problem(as_users)
    findings = judge_tokens(config.bot_user_id, problem, accounts)
    return Answer(tuple(findings), Registered(problem is None, accounts is None))


def judge_tokens(
    bot: UserId, main: RegistrationError | None, accounts: str | None
) -> list[Finding]:
    """``main``, ``accounts``: what is wrong with each."""
    findings = []
    if main is None:
        findings.append(ok(MAIN, f"The homeserver knows the bridge as {bot}."))
    else:
        findings.append(mend(MAIN, main.message + _which(main, accounts)))
    if accounts is None:
        findings.append(ok(ACCOUNTS, "The homeserver lets the bridge act for its users."))
    elif main is None:
        findings.append(
            mend(
                ACCOUNTS,
                f"{accounts} Run `dm-bridge registration`, list registration-accounts.yaml there, and restart the "
                "homeserver.",
            )
        )
    else:
        findings.append(mend(ACCOUNTS, f"{accounts} Do with it as with the first."))
    return findings


def _which(main: RegistrationError, accounts: str | None) -> str:
    """What the one token says about why the other is not known."""
    cause = main.__cause__
    if not isinstance(cause, HomeserverError) or cause.status not in (401, 403):
        return ""
    if accounts is None:
        return (
            " It does know registration-accounts.yaml: so registration.yaml is not listed, or the homeserver's "
            "copy "
            "is older than appservice.as_token."
        )
    return (
        " It knows neither of the two files: they are not listed, or are copies from before the tokens were "
        "changed, "
        "or it was not restarted since."
    )


async def check_ghosts(config: Config, homeserver: Homeserver) -> Answer[UserId]:
    """Whether the ghosts are ours alone, and may be acted for; then, one of them. Raises `HomeserverError`."""
    ghost = doctors_ghost(config)
    refusal: HomeserverError | None = None
    seen: UserId | None = None
    try:
        await ghosts.register(homeserver, ghost)
        seen = await homeserver.whoami(ghost)
    except HomeserverError as error:
        if not 400 <= error.status < 500 or error.status == 429:
            raise
        refusal = error
    finding = judge_ghosts(ghost, seen, refusal)
    return Answer((finding,), ghost if seen == ghost else None)


def judge_ghosts(ghost: UserId, seen: UserId | None, refusal: HomeserverError | None) -> Finding:
    """``seen``: as whom the homeserver took us."""
    if refusal is not None and refusal.errcode == "M_EXCLUSIVE" and "reserved" in str(refusal):
        return mend(
            GHOSTS,
            f"Another application service has reserved user ids such as {ghost}: the namespaces overlap. Change "
            "appservice.ghost_prefix, or the other one's namespace. " + AGAIN,
        )
    if refusal is not None:
        return mend(
            GHOSTS,
            f"The homeserver does not let the bridge act as {ghost}: the namespace in its copy of "
            "registration.yaml is "
            f"not that of appservice.ghost_prefix and homeserver.domain ({refusal.errcode}). {AGAIN}",
        )
    if seen != ghost:
        return mend(
            GHOSTS,
            f"Asked as {ghost}, the homeserver took the bridge for {seen}: it does not let application services "
            "act "
            "for others (`user_id`). Use one that does, such as Synapse.",
        )
    return ok(GHOSTS, "The bridge may act as its ghosts, whom nobody else has.")


async def check_strangers(
    config: Config, homeserver: Homeserver, as_users: Homeserver, registered: Registered
) -> list[Finding]:
    """Whether the first registration is refused those who are not its own, and the second is not.

    Raises `HomeserverError`.
    """
    if not registered.accounts:
        return [
            unknown(
                STRANGERS,
                "Whether the bridge is kept from acting for others was not tried: there is no user to try it with "
                "while the second registration is not known. Mend that first.",
            )
        ]
    other = accounts_bot(config)
    try:
        await ghosts.register(as_users, other)
        local = await as_users.whoami(config.bot_user_id) == config.bot_user_id
    except HomeserverError as error:
        if error.status not in (400, 403):
            raise
        local = False
    if not registered.main or not local:
        return judge_strangers(other, refused=None, local=local)
    try:
        await homeserver.whoami(other)
        refused = False
    except HomeserverError as error:
        if error.status != 403:
            raise
        refused = True
    return judge_strangers(other, refused=refused, local=local)


def judge_strangers(other: UserId, *, refused: bool | None, local: bool) -> list[Finding]:
    """``refused``: whether the first was refused ``other``; ``local``: whether the second acts for users."""
    findings = []
    if refused is True:
        findings.append(
            ok(STRANGERS, "The first registration is refused users that are not its own.")
        )
    if refused is False:
        findings.append(
            mend(
                STRANGERS,
                f"The first registration may act as {other}, who is none of its users: its namespace at the "
                "homeserver "
                "is too wide, and the homeserver pushes rooms to the bridge that are none of its business. "
                + AGAIN,
            )
        )
    if not local:
        findings.append(
            mend(
                ACCOUNTS,
                "The second registration may not act for local users: the namespace in the homeserver's copy of "
                f"registration-accounts.yaml is not that of homeserver.domain. {AGAIN}",
            )
        )
    return findings

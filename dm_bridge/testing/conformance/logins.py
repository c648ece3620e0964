"""Logging in: right, wrong, malformed, given up, and with nobody to ask.

The rule that must never break: nothing that a user typed as a secret is seen in an error.
"""

from __future__ import annotations

import asyncio
import contextlib

from dm_bridge.errors import BridgeError, CredentialsError, NetworkError, UserError
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, WaitStep
from dm_bridge.testing.conformance.adapter import NotOffered
from dm_bridge.testing.conformance.case import Case, Failed, require

CANCEL = "`LoginProcess.cancel` returns, within five seconds, and never raises."
MALFORMED = ("", " ", "\0", "a\r\nb", "\ud800", "'\"<&>%s{}", "x" * 10_000)


async def the_right_answers_log_in(case: Case) -> None:
    """The login ends with `LoginDone`: who the user is, and what a session needs, as text; the same each time."""
    account = await case.account()
    first, second = await case.log_in(account), await case.log_in(account)
    require(
        first.remote == second.remote, "The same account is the same `LoginDone.remote` each time."
    )
    require(first.remote and first.name, "`LoginDone.remote` and `name` are not empty.")
    require(
        all(
            isinstance(key, str) and isinstance(value, str)
            for key, value in first.credentials.items()
        ),
        "`LoginDone.credentials` maps text to text.",
    )
    require(
        "\0" not in first.remote and not any("\0" in value for value in first.credentials.values()),
        "No NUL characters.",
    )
    live = await case.opened(account)
    await live.connect()


async def fields_are_asked_for_as_what_they_are(case: Case) -> None:
    """Ask for a password as `FieldKind.SECRET`; every field has a label, and a name of its own."""
    account = await case.account()
    step = case.network.start_login().start()
    wrong_ones = account.wrong[0] if account.wrong else account.answers[0]
    require(step.fields, "The first step asks for something.")
    names = [field.name for field in step.fields]
    require(len(set(names)) == len(names), f"Two fields have one name: {names}")
    for field in step.fields:
        require(field.label.strip(), f"The field {field.name!r} has no label.")
        right, wrong = account.answers[0].get(field.name), wrong_ones.get(field.name)
        if right != wrong:
            require(
                field.kind is FieldKind.SECRET,
                f"The field {field.name!r} decides whether the login is accepted: it is a `FieldKind.SECRET`.",
            )


async def a_wrong_password_is_refused_with_a_sentence(case: Case) -> None:
    """Raise `CredentialsError` when the network refuses what the user typed, without showing it."""
    account = await case.account()
    if not account.wrong:
        raise NotOffered("there is no password")
    try:
        await case.answer(account.wrong)
    except CredentialsError as error:
        case.is_plain(error)
        require(error.retry_after is None, "A wrong password is not tried again: no `retry_after`.")
        shown = [
            value
            for right, wrong in zip(account.answers, account.wrong, strict=True)
            for key, value in wrong.items()
            if value != right[key] and value in str(error)
        ]
        require(not shown, "The error shows the password.")
    except BridgeError as error:
        raise Failed(f"A refused password is a `CredentialsError`, not {error!r}.") from None
    else:
        raise Failed("The wrong password was accepted.")
    await case.log_in(account)


async def malformed_answers_are_a_matter_of_the_user(case: Case) -> None:
    """`check` and `submit` raise `UserError` for what cannot be right, or `CredentialsError`, and nothing else."""
    account = await case.account()
    step = case.network.start_login().start()
    for field in step.fields:
        for value in MALFORMED:
            process = case.network.start_login()
            process.start()
            try:
                process.check(field.name, value)
                async with asyncio.timeout(3 * case.adapter.patience):
                    await process.submit({**account.answers[0], field.name: value})
            except (UserError, CredentialsError, NetworkError) as error:
                require(
                    len(value.strip()) < 3 or value not in str(error),
                    f"An error shows what was typed into {field.name!r}; it may be a password.",
                )
            except TimeoutError:
                raise Failed(
                    f"`submit` does not end, with {value[:20]!r} as {field.name!r}."
                ) from None
            except Exception as error:
                raise Failed(f"With {value[:20]!r} as {field.name!r}: {error!r}") from error
            await process.cancel()


async def a_login_can_be_given_up(case: Case) -> None:
    """`cancel` may come at any time, twice, also while `submit` waits; what was opened is closed."""
    account = await case.account()
    before = asyncio.all_tasks()
    process = case.network.start_login()
    await case.promptly(process.cancel(), CANCEL)
    process.start()
    await case.promptly(process.cancel(), CANCEL)
    await case.line.hang()
    process = case.network.start_login()
    process.start()
    submitting = asyncio.create_task(process.submit(dict(account.answers[0])))
    await asyncio.sleep(0.1)
    await case.promptly(process.cancel(), CANCEL)
    await case.promptly(process.cancel(), CANCEL)
    with contextlib.suppress(BridgeError, asyncio.CancelledError):
        try:
            async with asyncio.timeout(2 * case.adapter.patience):
                step = await submitting
        except TimeoutError:
            raise Failed("After `cancel`, a `submit` that waits ends.") from None
        require(
            isinstance(step, AskStep | WaitStep | LoginDone),
            "`submit` returns a step, or raises.",
        )
    await case.line.mend()
    await case.until(
        lambda: not {task for task in asyncio.all_tasks() - before if not task.done()},
        "A login that was given up leaves tasks behind.",
    )


async def nobody_to_ask_is_a_matter_of_the_network(case: Case) -> None:
    """`submit` raises `NetworkError`, in time, when the network cannot be reached; it is no `CredentialsError`."""
    account = await case.account()
    await case.line.refuse()
    try:
        await case.log_in(account)
    except CredentialsError:
        raise Failed("Nobody refused the password: the network cannot be reached.") from None
    except NetworkError as error:
        case.is_plain(error)
    except TimeoutError:
        raise Failed("`submit` does not end when the network cannot be reached.") from None
    else:
        raise Failed("The login succeeded, although the network cannot be reached.")


CHECKS = (
    the_right_answers_log_in,
    fields_are_asked_for_as_what_they_are,
    a_wrong_password_is_refused_with_a_sentence,
    malformed_answers_are_a_matter_of_the_user,
    a_login_can_be_given_up,
    nobody_to_ask_is_a_matter_of_the_network,
)

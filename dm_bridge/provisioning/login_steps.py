"""A step of a login, as it is told over the wire.

The rule that must never break: the same step of the same network has the same id in every login, because clients
know steps by it.
"""

from __future__ import annotations

import re
import secrets

import segno

from dm_bridge.ids import LoginId, NetworkName
from dm_bridge.network.login import AskStep, Display, FieldKind, LoginField, WaitStep
from dm_bridge.provisioning.wire import (
    Complete,
    DisplayAndWait,
    InputField,
    LoginStep,
    UserInput,
)
from dm_bridge.texts import phrase

_SHOWN = {Display.QR: "qr", Display.CODE: "code", Display.NOTHING: "nothing"}


def told(process: str, network: NetworkName, step: AskStep | WaitStep) -> LoginStep:
    """A step that waits for its answer."""
    if isinstance(step, WaitStep):
        return LoginStep(
            login_id=process,
            type="display_and_wait",
            step_id=_step_id(network, "wait", step.display.value),
            txn_id=_txn_id(),
            instructions=step.instructions,
            display_and_wait=DisplayAndWait.model_validate(
                {
                    "type": _SHOWN[step.display],
                    "data": step.data or None,
                    "image": _picture(step.data) if step.display is Display.QR else None,
                }
            ),
        )
    return LoginStep(
        login_id=process,
        type="user_input",
        step_id=_step_id(network, *(each.name for each in step.fields)),
        txn_id=_txn_id(),
        instructions=step.instructions,
        user_input=UserInput(fields=[_field(each) for each in step.fields]),
    )


def done(process: str, network: NetworkName, login: LoginId) -> LoginStep:
    """The last one."""
    return LoginStep(
        login_id=process,
        type="complete",
        step_id=_step_id(network, "complete"),
        txn_id=_txn_id(),
        instructions=phrase("provisioning-logged-in"),
        complete=Complete(user_login_id=login),
    )


def _picture(data: str) -> str | None:
    """A QR code; None for what does not fit into one."""
    try:
        code = segno.make_qr(data, error="m")
    except ValueError:
        return None
    return code.svg_data_uri(scale=8, border=4, light="#fff")


def _field(asked: LoginField) -> InputField:
    name = asked.label[:1].upper() + asked.label[1:]
    if asked.options:
        return InputField(type="select", id=asked.name, name=name, options=list(asked.options))
    kind = asked.kind is FieldKind.SECRET
    return InputField(type="password" if kind else "username", id=asked.name, name=name)


def _step_id(network: NetworkName, *names: str) -> str:
    return ".".join(["org.dm_bridge", network, *(re.sub(r"[^\w-]", "-", name) for name in names)])


def _txn_id() -> str:
    return f"dms_{secrets.token_hex(12)}"

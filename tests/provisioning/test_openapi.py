"""The OpenAPI document, and whether the API keeps to it, whatever it is asked."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import hypothesis
import pytest
import schemathesis
from click.testing import CliRunner
from hypothesis import HealthCheck, strategies
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from dm_bridge.cli.main import cli
from dm_bridge.provisioning import authentication, logins
from dm_bridge.provisioning import limits as paces
from dm_bridge.provisioning.openapi import document
from dm_bridge.provisioning.operations import OPERATIONS, PREFIX

from .world import ROMEO, Api, provisioned

CAN_BE_WRONG = {"searchUsers", "submitLoginStep", "getDirectHistory"}
"""Operations to which something is given that is not just text."""
EXAMPLES = 12
"""Of each operation and kind: requests that keep to the document, and requests that do not."""


CHECKS = {
    "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "410"]},
    "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "413"]},
}
"""What is well-formed may still make no sense (400), be gone (410), or not be the user's (403, 404)."""


GENERATION = {"allow-extra-parameters": False, "with-security-parameters": False}
"""Parameters that nobody knows are passed over, as Matrix wants; that tokens count, is tested by itself."""


async def test_the_document_is_served_to_everybody(api: Api) -> None:
    got = await api.get("openapi.json", token=None)
    assert (got.status, got.json) == (200, document())


def test_the_document_can_be_printed() -> None:
    result = CliRunner().invoke(cli, ["openapi"])
    assert (result.exit_code, json.loads(result.output)) == (0, document())


def test_every_reference_and_every_name_is_there_once() -> None:
    made = document()
    schemas = made["components"]["schemas"]
    used = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(made)))
    assert used == set(schemas)
    assert {each["operationId"] for path in made["paths"].values() for each in path.values()} == {
        operation.name for operation in OPERATIONS
    }


@pytest.mark.parametrize("mode", ["positive", "negative"])
async def test_the_api_keeps_to_its_document(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limits, name in (
        (paces, "CALLS_A_MINUTE"),
        (paces, "WAITS_A_MINUTE"),
        (authentication, "UNKNOWN_A_MINUTE"),
    ):
        monkeypatch.setattr(limits, name, 1_000_000)
    monkeypatch.setattr(logins, "AT_ONCE", 1_000_000)
    async with provisioned(attempts=1_000_000) as api:
        login = await api.log_in()
        meant = {
            "flowID": "fake",
            "loginID": "of nobody",
            "login_id": login,
            "identifier": str(ROMEO),
            "roomID": (await api.post(f"create_dm/{ROMEO}")).json["dm_room_mxid"],
        }
        found = operations(
            api.base
        )  # not in the thread: what is imported then is parsed, and 3.11 does
        # not bear two threads that parse, as one does that formats a traceback
        asked = await asyncio.to_thread(explore, found, mode, meant)
    assert min(asked.values()) >= 3, asked
    everything = {operation.name for operation in OPERATIONS}
    assert set(asked) == (everything if mode == "positive" else CAN_BE_WRONG)


def operations(base: str) -> list[Any]:
    """What the document has."""
    config = SchemathesisConfig.from_dict(
        {"base-url": f"{base}{PREFIX}", "checks": CHECKS, "generation": GENERATION}
    )
    schema = schemathesis.openapi.from_dict(document(), config=config)
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def explore(found: list[Any], mode: str, meant: dict[str, str]) -> dict[str, int]:
    """Ask for everything, in ways that are made from the document. How often each was asked for."""
    asked = {}
    for operation in found:
        name = operation.definition.raw["operationId"]
        if mode == "positive" or name in CAN_BE_WRONG:
            asked[name] = explore_one(operation, mode, meant)
    return asked


def explore_one(
    operation: schemathesis.APIOperation[Any, Any, Any, Any], mode: str, meant: dict[str, str]
) -> int:
    asked = 0
    cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode.upper()])

    @hypothesis.seed(0)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=cases, real=strategies.booleans())
    def ask(case: schemathesis.Case[Any], real: bool) -> None:
        nonlocal asked
        asked += 1
        if mode == "positive":
            case.query.pop("user_id", None)
            for parameters in (case.path_parameters, case.query) if real else ():
                parameters |= {name: meant[name] for name in parameters.keys() & meant.keys()}
        response = case.call(headers={"Authorization": "Bearer juliet's"})
        case.validate_response(response)

    ask()
    return asked

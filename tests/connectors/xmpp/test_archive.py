"""Asking the archive: what is asked, and what an answer means."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring, tostring

import pytest

from dm_bridge.connectors.xmpp import archive as module
from dm_bridge.connectors.xmpp.archive import CLOCK_SKEW, Archive
from dm_bridge.connectors.xmpp.failures import rejected, timed_out
from dm_bridge.connectors.xmpp.stanzas import Account
from dm_bridge.errors import NetworkError

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")
JULIET = "juliet@example.com"


def result(
    identifier: str,
    sender: str = ME.full,
    attributes: str = "id='m'",
    inner: str = "",
    stamp: str = "2024-05-06T07:08:09Z",
) -> Element:
    return fromstring(  # noqa: S314
        f"<result xmlns='urn:xmpp:mam:2' id='{identifier}'><forwarded xmlns='urn:xmpp:forward:0'>"
        f"<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/><message xmlns='jabber:client'"
        f" from='{sender}' to='{JULIET}' {attributes}><body>x</body>{inner}</message>"
        "</forwarded></result>"
    )


def fin(last: str = "", complete: bool = False) -> Element:
    attribute = "complete='true'" if complete else ""
    bounds = f"<first>x</first><last>{last}</last>" if last else ""
    return fromstring(  # noqa: S314
        f"<iq><fin xmlns='urn:xmpp:mam:2' {attribute}>"
        f"<set xmlns='http://jabber.org/protocol/rsm'>{bounds}</set></fin></iq>"
    )


Answer = tuple[Element, list[Element]] | Exception


class FakeClient:
    """Answers archive queries with ``answers``, in order. ``asked``: the queries, as XML."""

    account = ME
    domain = ME.domain

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.features: list[str] | Exception = []

    async def search(self, query: Element, timeout: float) -> tuple[Element, list[Element]]:
        self.asked.append(tostring(query, encoding="unicode"))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def request(self, kind: str, payload: Element, timeout: float, to: str) -> Element:
        assert (kind, to) == ("get", ME.bare)
        if isinstance(self.features, Exception):
            raise self.features
        return fromstring(  # noqa: S314
            "<iq><query xmlns='http://jabber.org/protocol/disco#info'>"
            + "".join(f"<feature var='{feature}'/>" for feature in self.features)
            + "</query></iq>"
        )


def archive(client: FakeClient) -> Archive:
    return Archive(client, 1.0)  # type: ignore[arg-type]


async def test_a_page_begins_after_an_entry() -> None:
    client = FakeClient((fin("b"), [result("a"), result("b")]))
    page = await archive(client).page("before-a", 1714979289.0, JULIET)
    assert [entry.id for entry in page.entries] == ["a", "b"]
    assert page.entries[0].stored_at == 1714979289.0
    assert page.last == "b"
    (query,) = client.asked
    assert "after>before-a<" in query
    assert "max>100<" in query
    assert "value>2024-05-06T07:08:09Z<" in query
    assert f"value>{JULIET}<" in query
    assert "value>urn:xmpp:mam:2<" in query


async def test_a_page_of_all_has_no_conditions() -> None:
    client = FakeClient((fin(complete=True), []))
    assert (await archive(client).page()).entries == ()
    assert "field" not in client.asked[0]
    assert "after" not in client.asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        (fin("b", complete=True), [result("b")]),
        (fin(), []),
        (fin("same"), [result("same")]),
        (fromstring("<iq/>"), []),  # noqa: S314
    ],
    ids=["complete", "empty", "no progress", "no fin"],
)
async def test_the_last_page_leads_nowhere(answer: Answer) -> None:
    assert (await archive(FakeClient(answer)).page("same")).last is None


async def test_an_entry_that_cannot_be_read_is_left_out() -> None:
    odd = fromstring("<result xmlns='urn:xmpp:mam:2' id='a'/>")  # noqa: S314
    stampless = result("b", stamp="yesterday")
    page = await archive(FakeClient((fin("b"), [odd, stampless]))).page()
    assert [(entry.id, entry.stored_at) for entry in page.entries] == [("b", None)]


@pytest.mark.parametrize("error", [rejected("d", "it", "item-not-found"), timed_out("d")])
async def test_an_error_is_no_empty_page(error: NetworkError) -> None:
    with pytest.raises(type(error)):
        await archive(FakeClient(error)).page("x")


async def test_the_newest_entry_is_asked_for_from_the_end() -> None:
    client = FakeClient((fin("z"), [result("z")]), (fin(complete=True), []))
    assert await archive(client).newest() == "z"
    assert "before" in client.asked[0]
    assert "max>1<" in client.asked[0]
    assert await archive(client).newest() is None


async def test_an_archive_exists_where_the_account_says_so() -> None:
    client = FakeClient()
    for features, exists in (
        (["urn:xmpp:mam:1"], False),
        (["urn:xmpp:sid:0", "urn:xmpp:mam:2"], True),
        (rejected("d", "it", "service-unavailable"), False),
    ):
        client.features = features
        assert await archive(client).exists() is exists
    client.features = rejected("d", "it", "internal-server-error")
    with pytest.raises(NetworkError):
        await archive(client).exists()


@pytest.mark.parametrize(
    ("element", "found"),
    [
        (result("1", attributes="id='mine'"), True),
        (result("1", inner="<origin-id xmlns='urn:xmpp:sid:0' id='mine'/>"), True),
        (result("1", sender=f"{ME.bare}/other", attributes="id='mine'"), True),
        (result("1", sender=f"{JULIET}/x", attributes="id='mine'"), False),
        (result("1", sender="@@", attributes="id='mine'"), False),
        (result("1", attributes="id='mine' type='error'"), False),
        (result("1"), False),
    ],
)
async def test_a_message_counts_as_sent_when_the_user_wrote_it(
    element: Element, found: bool
) -> None:
    client = FakeClient((fin("0"), [result("0")]), (fin(complete=True), [element]))
    assert await archive(client).has_sent(JULIET, "mine", 1714979289.0 + CLOCK_SKEW) is found
    assert "after>0<" in client.asked[1]
    assert all("value>2024-05-06T07:08:09Z<" in query for query in client.asked)


async def test_a_search_without_end_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    client = FakeClient(*((fin(f"{n}"), [result(f"{n}")]) for n in range(9)))
    with pytest.raises(NetworkError) as caught:
        await archive(client).has_sent(JULIET, "mine", 0.0)
    assert not caught.value.certain
    assert len(client.asked) == 3

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.addresses import bare_jid, contact_uri
from dm_bridge.errors import UserError
from dm_bridge.ids import ContactId


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("romeo@example.org", "romeo@example.org"),
        ("  Romeo@EXAMPLE.org/Balcony\n", "romeo@example.org"),
        ("romeo@example.org.", "romeo@example.org"),
        ("xmpp:romeo@example.org?message;body=hi", "romeo@example.org"),
        ("XMPP:romeo@example.org/x#y", "romeo@example.org"),
        ("xmpp://me@example.com/romeo@example.org", "romeo@example.org"),
        ("xmpp:nurse%25@example.org", "nurse%@example.org"),
        ("+4912345@whatsapp.example.org", "+4912345@whatsapp.example.org"),
        (r"some\40mail.example@gateway.example.org", r"some\40mail.example@gateway.example.org"),
        (r"d\27artagnan@example.org", r"d\27artagnan@example.org"),
        ("jürgen@straße.example", "jürgen@strasse.example"),
        ("romeo@[::1]", "romeo@[::1]"),
    ],
)
def test_addresses_get_one_normal_form(typed: str, normal: str) -> None:
    assert bare_jid(typed) == normal


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "romeo",
        "example.org/x",
        "@example.org",
        "romeo@",
        "a@b@c",
        "a b@example.org",
        "romeo@exa mple.org",
        "r\x00o@example.org",
        "x" * 1024 + "@example.org",
        "xmpp:",
        "xmpp:?join",
        "<romeo@example.org>",
        "a@.",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(UserError, match=r"romeo@example\.org") as caught:
        bare_jid(typed)
    assert len(str(caught.value)) < 300
    assert "\x00" not in str(caught.value)


@pytest.mark.parametrize(
    ("contact", "uri"),
    [
        ("romeo@example.org", "xmpp:romeo@example.org"),
        ("nurse?%@example.org", "xmpp:nurse%3F%25@example.org"),
        (r"some\40mail@gateway.example.org", "xmpp:some%5C40mail@gateway.example.org"),
        ("gateway.example.org", "xmpp:gateway.example.org"),
    ],
)
def test_a_contact_has_a_uri(contact: str, uri: str) -> None:
    assert contact_uri(ContactId(contact)) == uri


@given(st.text(max_size=60) | st.from_regex(r"[^@/]{1,20}@[a-z.]{1,20}(/.*)?", fullmatch=True))
def test_any_text_is_an_address_or_refused_and_the_normal_form_is_stable(text: str) -> None:
    try:
        contact = bare_jid(text)
    except UserError:
        return
    assert bare_jid(contact) == contact
    assert bare_jid(contact_uri(contact)) == contact

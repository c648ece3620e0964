"""Addresses: one contact has one normal form, however it is typed, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.addresses import ascii_domain, bare_jid, contact_uri
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
        ("romeo@192.0.2.1", "romeo@192.0.2.1"),
        ("romeo@my-host_2.example", "romeo@my-host_2.example"),
        ("a!b`@example.org", "a!b`@example.org"),
        ("a@日本.example", "a@日本.example"),
        ("a@münchen.example", "a@münchen.example"),
        ("a@xn--mnchen-3ya.example", "a@münchen.example"),
        ("a@MU\u0308NCHEN.example/x", "a@münchen.example"),
        ("xmpp:a@XN--MNCHEN-3YA.example?message", "a@münchen.example"),
        ("a@münchen\u3002example", "a@münchen.example"),
        ("a@xn--mnchen-3ya\uff0eexample\uff61", "a@münchen.example"),
        ("a@xn--mnchen-3ya.example/b\u3002c", "a@münchen.example"),
        ("a\u3002b@example.org", "a\u3002b@example.org"),
        ("a@münchen.xn--4db.x", "a@münchen.xn--4db.x"),
        ("a@xn--mnchen-3ya.xn--4db.x", "a@münchen.xn--4db.x"),
        ("a@xn--strae-oqa.example", "a@xn--strae-oqa.example"),
        ("a@xn--e28h.example", "a@xn--e28h.example"),
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
        "a@b.c,",
        "a@b.c)",
        "a@b!c",
        "a@b.c`",
        "`a@b.c`",
        "a@_b.c",
        "a@b_.c",
        "a@b.c;",
        "a@b\uff01.c",
        "a@münchen`.example",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(UserError, match=r"romeo@example\.org") as caught:
        bare_jid(typed)
    assert len(str(caught.value)) < 300
    assert "\x00" not in str(caught.value)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.org", "example.org"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("xn--e28h.example", "xn--e28h.example"),
        ("[::1]", "[::1]"),
    ],
)
def test_dns_gets_the_ascii_form_of_a_domain(domain: str, expected: str) -> None:
    assert ascii_domain(domain) == expected


@given(st.text("aüßдא中\u3002.-xn", min_size=1, max_size=20))
def test_both_spellings_of_any_domain_are_one_contact(domain: str) -> None:
    try:
        contact = bare_jid(f"a@{domain}")
        other = bare_jid(f"a@{ascii_domain(contact.partition('@')[2])}")
    except UserError:
        return
    assert other == contact


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

"""Places and kinds, as any text names them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.network.media import MediaKind, Place, kind_of


@given(st.floats(-90, 90), st.floats(-180, 180), st.none() | st.floats(0, 1e6))
def test_a_place_survives_its_uri(
    latitude: float, longitude: float, accuracy: float | None
) -> None:
    place = Place(latitude, longitude, accuracy)
    again = Place.from_uri(place.uri)
    assert again is not None
    assert math.isclose(again.latitude, latitude, abs_tol=1e-6)
    assert math.isclose(again.longitude, longitude, abs_tol=1e-6)
    assert (again.accuracy is None) == (accuracy is None)
    assert Place.from_uri(again.uri) == again


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("geo:45.44,10.99", Place(45.44, 10.99)),
        ("GEO:-45,-10,200", Place(-45.0, -10.0)),
        ("geo:1,2;crs=wgs84;u=35.5", Place(1.0, 2.0, 35.5)),
        ("geo:1,2;u=-1", Place(1.0, 2.0)),
        ("geo:1,2?q=1,2(Verona)", Place(1.0, 2.0)),
        ("geo:0,0", Place(0.0, 0.0)),
    ],
)
def test_what_names_a_place(text: str, place: Place) -> None:
    assert Place.from_uri(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "geo:", "geo:1", "geo:91,0", "geo:0,181", "geo:1,2 and more", "see geo:1,2", "geo:nan,nan",
     "geo:1e5,2", "geo:1,2\n", "geo:١,٢", "https://example.org/geo:1,2"],
)  # fmt: skip
def test_what_names_none(text: str) -> None:
    assert Place.from_uri(text) is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    Place.from_uri(text)
    Place.from_uri("geo:" + text)


@pytest.mark.parametrize(
    ("mimetype", "kind"),
    [
        ("image/png", MediaKind.IMAGE),
        ("VIDEO/mp4", MediaKind.VIDEO),
        ("audio/ogg; codecs=opus", MediaKind.AUDIO),
        ("text/plain", MediaKind.FILE),
        ("", MediaKind.FILE),
    ],
)
def test_a_type_says_how_a_file_is_shown(mimetype: str, kind: MediaKind) -> None:
    assert kind_of(mimetype) is kind

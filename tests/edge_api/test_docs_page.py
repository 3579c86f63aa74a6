"""The page that documents the API for people."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from contracts.base import refusal
from edge_api import docs_page, openapi
from tests.edge_api.shop import shop
from tests.edge_api.world import World, offer

WITHOUT_END = {"meta", "link", "br", "img"}
HOSTILE = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """A page as a browser would see it: what is open at each point, ids, links, headings, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.headings: list[int] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in WITHOUT_END:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, *names: str) -> set[str]:
        return {value for name, value in self.attributes if name in names}


@pytest.fixture(scope="module")
def text() -> str:
    return docs_page.page(openapi.document(shop().table.targets))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_tag_is_closed_and_no_id_is_there_twice(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_nothing_comes_from_elsewhere(page: Page) -> None:
    assert not {"script", "img", "link", "iframe", "object", "form"} & page.tags
    assert not page.values("src", "style", "action")
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(link.startswith(("#", "/")) and not link.startswith("//") for link in page.values("href"))


def test_every_link_within_the_page_leads_somewhere(page: Page) -> None:
    wanted = {link[1:] for link in page.values("href") if link.startswith("#")} | page.values("aria-labelledby")
    assert len(wanted) > 50
    assert wanted <= set(page.ids)


def test_a_screen_reader_finds_its_way(text: str, page: Page) -> None:
    assert text.startswith('<!doctype html><html lang="en">')
    assert {"header", "nav", "main", "h1"} <= page.tags
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_every_operation_is_there_with_its_refusals_and_fields(page: Page) -> None:
    said = " ".join(page.text)
    for word in (
        "/orders/{id}/refunds",
        "refund-too-high",
        "Needs an access token of staff.",
        "payment_method",
        "Money",
    ):
        assert word in said


async def test_what_a_manifest_holds_is_never_markup(world: World) -> None:
    schema: dict[str, Any] = {
        "title": HOSTILE,
        "description": HOSTILE,
        "type": "object",
        "properties": {
            HOSTILE: {"enum": [HOSTILE], "description": HOSTILE},
            "b": {"type": HOSTILE, "pattern": HOSTILE},
        },
    }
    refusals = (refusal(HOSTILE, 409, HOSTILE),)
    hostile = offer(
        f"plug.{HOSTILE}", "POST", "/plug/{" + HOSTILE + "}", request=schema, reply=schema, refusals=refusals
    )
    world.present("plug", hostile.model_copy(update={"summary": HOSTILE}))
    response = await world.client.get("/docs")
    assert HOSTILE in "".join(Page(response.text).text)
    assert "<script" not in response.text
    assert "alert(1)" in response.text


async def test_the_browser_is_told_to_load_and_run_nothing(world: World) -> None:
    response = await world.client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    style = response.text.partition("<style>")[2].partition("</style>")[0]
    allowed = f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    assert policy == {"default-src": "'none'", "style-src": allowed} | dict.fromkeys(
        ("base-uri", "form-action", "frame-ancestors"), "'none'"
    )


async def test_the_page_follows_the_services(world: World) -> None:
    assert "/plug" not in (await world.client.get("/docs")).text
    world.present("plug", offer("plug.in.v1", "GET", "/plug"))
    assert "/plug" in (await world.client.get("/docs")).text

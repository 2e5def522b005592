from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.xmltree import DEPTH_LIMIT, ELEMENT_LIMIT, Element, parse


def test_names_attributes_text_and_order() -> None:
    root = parse('<a x="1" y="&lt;&#233;"> one &amp; two <b>B</b> tail <c><b/></c><b z="3"/></a>')
    assert (root.tag, root.attributes, root.text) == ("a", {"x": "1", "y": "<é"}, " one & two ")
    assert [child.tag for child in root.children] == ["b", "c", "b"]
    first = root.first("b")
    assert first is not None
    assert first.text == "B"
    assert [found.attributes for found in root.all("b")] == [{}, {"z": "3"}]
    assert len(list(root.within("b"))) == 3
    assert root.first("d") is None


def test_a_namespace_is_part_of_the_name() -> None:
    root = parse('<t:a xmlns:t="urn:x"><b xmlns="urn:y"/><c/></t:a>')
    assert (root.tag, [child.tag for child in root.children]) == ("urn:x a", ["urn:y b", "c"])


@pytest.mark.parametrize(
    "document",
    [
        "",
        "text",
        "<a>",
        "<a/><b/>",
        "<a></b>",
        "<a x='1' x='2'/>",
        "<a>&x;</a>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a SYSTEM 'http://192.0.2.9/x.dtd'><a/>",
        '<!DOCTYPE a [<!ENTITY x "xxxxxxxx">]><a>&x;</a>',
        "<a>" * (DEPTH_LIMIT + 1) + "</a>" * (DEPTH_LIMIT + 1),
        "<a>" + "<b/>" * ELEMENT_LIMIT + "</a>",
        "<a>\0</a>",
        "<a>\ud800</a>",
    ],
)
def test_what_is_refused(document: str) -> None:
    with pytest.raises(DecodeError):
        parse(document)


def test_the_limits_themselves_are_allowed() -> None:
    assert parse("<a>" * DEPTH_LIMIT + "</a>" * DEPTH_LIMIT).tag == "a"
    assert len(parse("<a>" + "<b/>" * (ELEMENT_LIMIT - 1) + "</a>").children) == ELEMENT_LIMIT - 1


def same(ours: Element, theirs: ET.Element) -> bool:
    return (
        (ours.tag, ours.attributes, ours.text) == (theirs.tag, theirs.attrib, theirs.text or "")
        and len(ours.children) == len(theirs)
        and all(map(same, ours.children, theirs))
    )


NAMES = st.sampled_from(["a", "b", "client"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=5)


def elements(children: st.SearchStrategy[list[ET.Element]]) -> st.SearchStrategy[ET.Element]:
    def build(
        name: str, attributes: dict[str, str], text: str, within: list[ET.Element]
    ) -> ET.Element:
        element = ET.Element(name, attributes)
        element.text = text
        element.extend(within)
        return element

    return st.builds(build, NAMES, st.dictionaries(NAMES, TEXTS, max_size=2), TEXTS, children)


TREES = st.recursive(
    elements(st.just([])), lambda inner: elements(st.lists(inner, max_size=3)), max_leaves=8
)


@given(TREES)
def test_a_tree_is_what_the_standard_library_makes_of_it(tree: ET.Element) -> None:
    document = ET.tostring(tree, "unicode")
    try:
        ours = parse(document)
    except DecodeError:
        reject()  # too deep
    assert same(ours, ET.fromstring(document))


@given(st.text() | st.text("<>/ab&;!'\"= "))
def test_any_text_is_a_tree_or_refused(text: str) -> None:
    try:
        parse(text)
    except DecodeError:
        return
    ET.fromstring(text)

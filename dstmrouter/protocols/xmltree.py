"""A small XML document as a tree, straight from expat, with all its limits kept while it is read.

Strangers send these documents, so there is no DTD, hence no entity but the five of XML itself, and
few elements. Names in a namespace have it in front, with a space between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from dstmrouter.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH_LIMIT: Final = 8
ELEMENT_LIMIT: Final = 256


class Element:
    """One element: `text` is what stands before its first child."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.text = ""
        self.children: list[Element] = []

    def all(self, tag: str) -> Iterator[Element]:
        """The children of this name."""
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element | None:
        """The first child of this name."""
        for child in self.children:
            if child.tag == tag:
                return child
        return None

    def within(self, tag: str) -> Iterator[Element]:
        """All elements of this name at any depth, in the order of the document."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.within(tag)


class _Builder:
    def __init__(self) -> None:
        self.root = Element("", {})  # of which the document is the child
        self._open = [self.root]
        self._elements = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) > DEPTH_LIMIT or self._elements > ELEMENT_LIMIT:
            raise DecodeError(f"more than {DEPTH_LIMIT} levels or {ELEMENT_LIMIT} elements")
        element = Element(tag, attributes)
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        element = self._open[-1]
        if not element.children:
            element.text += text


def parse(document: str) -> Element:
    """The root of `document`; DecodeError if it is not well formed, or more than we take."""
    builder = _Builder()
    parser = expat.ParserCreate(None, " ")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse_dtd
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, UnicodeEncodeError) as error:  # half characters
        raise DecodeError(f"not well-formed: {error}") from None
    (root,) = builder.root.children
    return root


def _refuse_dtd(name: str, _system: str | None, _public: str | None, _internal: bool) -> None:
    raise DecodeError(f"a DTD of {name:.20}")

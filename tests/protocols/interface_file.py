"""`docs/dstm.x` as data, and as an encoder made of it and xdrlib3: an oracle for our codec."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

import xdrlib3

FILE: Final = Path(__file__).parents[2] / "docs" / "dstm.x"


class Interface:
    """Constants, types and procedures of an interface file in the language of RFC 4506, 5531."""

    def __init__(self, text: str) -> None:
        found = re.findall(r"\bconst (\w+) += (\d+);", text)
        self.constants = {name: int(value) for name, value in found}
        self.typedefs = {
            name: kind + size
            for kind, name, size in re.findall(r"\btypedef ([\w ]+) (\w+)(\[\d+\])?;", text)
        }
        self.enums = {
            name: {key: int(value) for key, value in re.findall(r"(\w+) = (\d+)", body)}
            for name, body in re.findall(r"\benum (\w+) \{([^}]*)\}", text)
        }
        self.structs = {
            name: declarations(body)
            for name, body in re.findall(r"\bstruct (\w+) \{([^}]*)\}", text)
        }
        self.unions = {
            name: (kind, arms(body))
            for name, kind, body in re.findall(
                r"\bunion (\w+) switch \((\w+) \w+\) \{([^}]*)\}", text
            )
        }
        program = re.search(r"\bprogram \w+ \{(.*)\} = (0x\w+);", text, re.DOTALL)
        assert program is not None
        self.program = int(program[2], 16)
        self.procedures = {
            name: (int(number), argument, result)
            for result, name, argument, number in re.findall(
                r"(\w+) +(\w+)\((\w+)\) = (\d+);", program[1]
            )
        }
        version = re.search(r"\} = (\d+);", program[1])
        assert version is not None
        self.version = int(version[1])

    def encode(self, kind: str, value: Any) -> bytes:
        """`value` as type `kind`; structs are dicts, unions pairs of discriminant and value."""
        packer = xdrlib3.Packer()
        self._pack(packer, kind, value)
        octets: bytes = packer.get_buffer()
        return octets

    def _pack(self, packer: Any, kind: str, value: Any) -> None:
        kind = self.typedefs.get(kind, kind)
        if kind in self.structs:
            assert list(value) == list(self.structs[kind])
            for name, declared in self.structs[kind].items():
                self._pack(packer, declared, value[name])
        elif kind in self.unions:
            discriminant, cases = self.unions[kind]
            packer.pack_enum(value[0])
            names = {number: name for name, number in self.enums[discriminant].items()}
            self._pack(packer, cases.get(names[value[0]], cases["default"]), value[1])
        elif kind in self.enums:
            assert value in self.enums[kind].values()
            packer.pack_enum(value)
        else:
            self._pack_plain(packer, kind, value)

    def _pack_plain(self, packer: Any, kind: str, value: Any) -> None:
        plain = {"unsigned int": packer.pack_uint, "unsigned hyper": packer.pack_uhyper}
        if kind in plain:
            plain[kind](value)
            return
        array = re.fullmatch(r"(opaque|string)([\[<])(\w+)[\]>]", kind)
        assert array is not None, kind
        octets = value.encode() if array[1] == "string" else value
        limit = self.constants.get(array[3]) or int(array[3])
        if array[2] == "[":
            packer.pack_fopaque(limit, octets)
        else:
            assert len(octets) <= limit
            packer.pack_opaque(octets)


def declarations(body: str) -> dict[str, str]:
    """`opaque cookie<32>; unsigned int n;` -> {"cookie": "opaque<32>", "n": "unsigned int"}"""
    found = re.findall(r"([\w ]+?)\s+(\w+)([\[<]\w+[\]>])?;", body)
    return {name: kind.strip() + size for kind, name, size in found}


def arms(body: str) -> dict[str, str]:
    """The type of each arm of a union, by label; labels without a declaration share the next."""
    found: dict[str, str] = {}
    for labels, declaration in re.findall(r"((?:(?:case \w+|default):\s*)+)([^;]+;)", body):
        (kind,) = declarations(declaration).values()
        for label in re.findall(r"case (\w+)|(default)", labels):
            found[label[0] or label[1]] = kind
    return found


def plain(value: Any) -> Any:
    """A dataclass as a dict by field, addresses as octets, for `Interface.encode`."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value.packed if isinstance(value, IPv4Address | IPv6Address) else value

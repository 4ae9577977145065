"""Entities of the description: ids, and what they point to."""

from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from descry.io.hashing import JSON, canonical

TYPES = {bool: "Boolean", int: "Integer", float: "Float"}


def local(kind: str, *names: str) -> str:
    """The id of something that is no file, such as #value/label.threshold."""
    return "#" + "/".join(quote(name) for name in (kind, *names))


def add(crate: ROCrate, identifier: str, kind: str, /, **properties: object) -> Entity:
    """Add an entity that is not a file of the crate."""
    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def add_value(crate: ROCrate, identifier: str, key: str, value: JSON) -> Entity:
    """Add a value under its name; what is no number, text or truth value is written as JSON."""
    plain = value if isinstance(value, bool | int | float | str) else canonical(value)
    return add(crate, identifier, "PropertyValue", name=key, value=plain)


def add_slot(crate: ROCrate, identifier: str, key: str, kind: str, example: Entity) -> Entity:
    """Add an input or output of the workflow, and say that an entity is what was in it."""
    slot = add(
        crate,
        identifier,
        "FormalParameter",
        name=key,
        additionalType=kind,
        valueRequired=True,
        workExample=example,
        conformsTo={"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"},
    )
    example["exampleOfWork"] = slot
    return slot

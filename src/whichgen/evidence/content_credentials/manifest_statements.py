"""Extract statements about the origin of an image from a C2PA manifest.

Manifests state actions, digital source types, programs and cameras.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from whichgen.evidence.content_credentials.manifest_signer import format_signer
from whichgen.evidence.finding import Indication, Strength
from whichgen.evidence.generator_patterns import find_generator
from whichgen.evidence.metadata.digital_source_types import parse_source_type
from whichgen.evidence.untrusted_text import as_dict, as_list, clean

#: Maximum numbers of actions, and of assertions and their fields, that are read per manifest.
_MAX_ACTIONS = 50
_MAX_ASSERTIONS = 100

#: Actions that create or open the whole image.
_FIRST_ACTIONS = frozenset({"c2pa.created", "c2pa.opened"})

# Actions that do not change the content of the image. All other actions without a source type are
# edits.
_NO_EDITS = _FIRST_ACTIONS | frozenset(
    f"c2pa.{name}"
    for name in (
        *("converted", "transcoded", "repackaged", "published", "resized", "unknown"),
        *("watermarked", "watermarked.bound", "watermarked.unbound"),
    )
)

# Descriptions of actions that generate images. Some companies, such as Microsoft, state only a
# description and no source type.
_GENERATED = re.compile(
    r"\bAI[- ]generated\b|\b(generated|created) (by|with|using) (\w+ )?(AI|generative)\b",
    re.IGNORECASE,
)

#: Prefixes of the labels of metadata assertions, and key (without namespace) of the source type.
_METADATA = ("stds.iptc", "stds.exif", "c2pa.metadata", "cawg.metadata")
_SOURCE_TYPE = "digitalsourcetype"

#: Assertion that Adobe used for generated images before actions had source types.
_ADOBE_GENERATIVE = "com.adobe.generative-ai"


@dataclass(frozen=True)
class ManifestStatement:
    """One statement of a manifest about the origin of the image.

    Parameters
    ----------
    title
        Action, assertion or ``claim generator``, and its value; ``edits`` for edits.
    detail
        Meaning of the value, program, version and description; for edits, the actions.
    indicates, generator, strength
        As in :class:`~whichgen.evidence.finding.Finding`.
    """

    title: str
    detail: str = ""
    indicates: Indication = "neutral"
    generator: str = ""
    strength: Strength = "strong"


def list_statements(manifest: dict[str, Any]) -> list[ManifestStatement]:
    """List the statements of a manifest about the origin of the image.

    The statements are, in this order:

    - each source type of an action;
    - each action that creates the image and has no source type, but a description or program that
      indicates a generator;
    - all edits without a source type, as one statement;
    - each source type and camera in a metadata assertion, and each assertion of Adobe about
      generative AI.

    Parameters
    ----------
    manifest
        The manifest as a JSON object from the C2PA library.
    """
    actions = list(_iterate_actions(manifest))
    is_derived = _has_parent(manifest) or any(_starts_from_image(action) for action, _ in actions)
    statements = [
        statement
        for action, agents in actions
        for statement in _interpret_action(action, agents, manifest, is_derived=is_derived)
    ]
    edits = [
        clean(str(action.get("action") or "action"), 60)
        for action, _ in actions
        if action.get("action") not in _NO_EDITS and not list(_iterate_sources(action))
    ]
    if edits:
        statements.append(ManifestStatement("edits", ", ".join(dict.fromkeys(edits)), "edited"))
    return [*statements, *_interpret_assertions(manifest)]


def interpret_claim_generator(manifest: dict[str, Any]) -> list[ManifestStatement]:
    """Interpret the name of the program that wrote a manifest.

    If the name contains that of a known generator or of its maker, the result is one weak
    statement. For other programs, including those that run various generators, the list is empty.
    Call this function only if no manifest states an origin, because a generator may also sign
    images that it did not generate.
    """
    program = format_claim_generator(manifest)
    generator = find_generator(program)
    if generator is None or generator.is_tool:
        return []
    title = f"claim generator: {program}"
    return [
        ManifestStatement(title, "no source type is stated", "synthetic", generator.name, "weak")
    ]


def creates_content(manifest: dict[str, Any]) -> bool:
    """Return whether a manifest has an action that creates the image or places content in it."""
    names = {action.get("action") for action, _ in _iterate_actions(manifest)}
    return bool(names & {"c2pa.created", "c2pa.placed"})


def format_claim_generator(manifest: dict[str, Any]) -> str:
    """Return the name and version of the program that wrote a manifest; empty if not stated."""
    names = format_programs(manifest.get("claim_generator_info"))
    return names or clean(str(manifest.get("claim_generator") or ""), 80)


def format_programs(programs: Any) -> str:
    """Format program names as one string, separated by commas.

    ``programs`` is a program or a list of programs, of which the first three are used. A program is
    a string or a dictionary with ``name`` and ``version``. Other values are ignored.
    """
    names = []
    for program in (as_list(programs) or [programs])[:3]:
        parts = [program, *(as_dict(program).get(key) for key in ("name", "version"))]
        names.append(clean(" ".join(part for part in parts if isinstance(part, str)), 80))
    return ", ".join(name for name in names if name)


def _iterate_actions(manifest: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yield each action, and the list of programs to which the action can refer by index."""
    count = 0
    for assertion in map(as_dict, as_list(manifest.get("assertions"))[:_MAX_ASSERTIONS]):
        if not str(assertion.get("label")).startswith("c2pa.actions"):
            continue
        data = as_dict(assertion.get("data"))
        for action in as_list(data.get("actions")):
            if isinstance(action, dict) and count < _MAX_ACTIONS:
                count += 1
                yield action, as_list(data.get("softwareAgents"))


def _iterate_sources(action: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each source type of an action, and whether it is a parameter of the action."""
    source = action.get("digitalSourceType")
    if isinstance(source, str) and source:
        yield source, False
    for key, value in list(as_dict(action.get("parameters")).items())[:_MAX_ASSERTIONS]:
        if key.lower().rpartition(".")[2] == _SOURCE_TYPE and isinstance(value, str) and value:
            yield value, True


def _has_parent(manifest: dict[str, Any]) -> bool:
    ingredients = map(as_dict, as_list(manifest.get("ingredients")))
    return any(ingredient.get("relationship") == "parentOf" for ingredient in ingredients)


def _starts_from_image(action: dict[str, Any]) -> bool:
    """Return whether an action opens an image, or creates it and states other than synthetic types.

    The types are digital source types, of which at least one must be stated.
    """
    if action.get("action") == "c2pa.opened":
        return True
    indications = [parse_source_type(source)[1] for source, _ in _iterate_sources(action)]
    return (
        action.get("action") == "c2pa.created"
        and bool(indications)
        and "synthetic" not in indications
    )


def _interpret_action(
    action: dict[str, Any], agents: list[Any], manifest: dict[str, Any], *, is_derived: bool
) -> Iterator[ManifestStatement]:
    """Yield the statements of an action, except edits without a source type.

    ``is_derived`` means that the image was made from an existing image. A generator that did not
    create or open the image then only edited it.
    """
    name = clean(str(action.get("action") or "action"), 60)
    number = action.get("softwareAgentIndex")
    agent = format_programs(action.get("softwareAgent"))
    if not agent and isinstance(number, int) and 0 <= number < len(agents):
        agent = format_programs(agents[number])
    description = clean(str(action.get("description") or ""), 100)
    parameters = as_dict(action.get("parameters"))
    versions = [
        f"version {clean(value, 60)}"
        for key, value in parameters.items()
        if key.endswith((".version", ".modelVersion")) and isinstance(value, str)
    ]
    for source, is_parameter in _iterate_sources(action):
        code, indication, meaning = parse_source_type(source)
        program = agent
        if is_parameter:  # a statement about the program that made the opened image
            program = format_programs(parameters.get("com.adobe.details"))
        generator = _name_generator(program, description) if indication == "synthetic" else ""
        if indication == "synthetic" and name not in _FIRST_ACTIONS and is_derived:
            indication = "edited"
        if indication == "synthetic" and not generator and not is_parameter:
            generator = format_claim_generator(manifest) or format_signer(manifest)
        parts = (meaning, program and f"by {program}", *versions[:1], description)
        yield ManifestStatement(f"{name}: {code}", _join(parts), indication, generator)
        description = ""
    if name == "c2pa.created" and not list(_iterate_sources(action)):
        is_stated = bool(_GENERATED.search(description))
        if is_stated or find_generator(agent):
            generator = _name_generator(agent, description)
            parts = (description, agent and f"by {agent}", *versions[:1])
            strength: Strength = "strong" if is_stated else "weak"
            title = f"{name}: generated" if is_stated else f"{name}: by a generator"
            yield ManifestStatement(title, _join(parts), "synthetic", generator, strength)


def _name_generator(program: str, description: str) -> str:
    """Return the program or, if it is empty, the name of the generator in the description."""
    if program:
        return program
    generator = find_generator(description)
    return generator.name if generator else ""


def _interpret_assertions(manifest: dict[str, Any]) -> Iterator[ManifestStatement]:
    """Yield the statements of metadata assertions and of Adobe's generative-AI assertions."""
    for assertion in map(as_dict, as_list(manifest.get("assertions"))[:_MAX_ASSERTIONS]):
        label = clean(str(assertion.get("label")), 60)
        data = as_dict(assertion.get("data"))
        if label.startswith(_ADOBE_GENERATIVE):
            detail = _join((str(data.get("description") or ""), format_programs(data.get("model"))))
            yield ManifestStatement(label, detail, "synthetic", "Adobe Firefly")
        if not label.startswith(_METADATA):
            continue
        fields = {
            key.lower().rpartition(":")[2]: value
            for key, value in list(data.items())[:_MAX_ASSERTIONS]
        }
        source = fields.get(_SOURCE_TYPE)
        source = as_dict(source).get("@id", source)
        if isinstance(source, str) and source:
            code, indication, meaning = parse_source_type(source)
            yield ManifestStatement(f"{label}: {code}", meaning, indication)
        camera = [fields.get(key) for key in ("make", "model")]
        if all(isinstance(text, str) and text.strip() for text in camera):
            names = " ".join(clean(str(text), 60) for text in camera)
            yield ManifestStatement(f"{label}: camera {names}", "", "camera")


def _join(parts: tuple[str, ...]) -> str:
    return "; ".join(part for part in parts if part)

"""Parse the nodes and links of ComfyUI graphs: the executed graph and the editor's workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from whichgen.evidence.untrusted_text import as_list

#: Maximum number of nodes and of links in a graph or subgraph.
_MAX_NODES = 5000
_MAX_LINKS = 20_000
#: Maximum number of values and of inputs of a node, and of subgraphs of a graph.
_MAX_VALUES = 50

#: Mode of muted nodes, which are not executed.
_MUTED = 2


@dataclass(frozen=True)
class Link:
    """Link from an output of a node to an input of another node.

    Parameters
    ----------
    node
        ID of the node with the output.
    slot
        Index of the output, starting at 0.
    """

    node: str
    slot: int = 0


@dataclass(frozen=True)
class Node:
    """Node of a graph.

    Parameters
    ----------
    kind
        Class name, such as ``KSampler``.
    values
        Maps the name of each input that is a string or a number to its value. The name of an
        unnamed input is its position, starting at ``"0"``.
    links
        Maps the name of each connected input to its link.
    """

    kind: str
    values: Mapping[str, str | int | float]
    links: Mapping[str, Link]


def parse_nodes(value: Mapping[str, Any]) -> dict[str, Node]:
    """Parse the nodes of a graph; return an empty dictionary if ``value`` is not a graph.

    Parameters
    ----------
    value
        JSON object: the executed graph (a dictionary of nodes) or the workflow of the editor (a
        list ``nodes`` and a list ``links``). The nodes of subgraphs are included, but are not
        connected to nodes outside of their subgraph. Muted nodes of a workflow are omitted.

    Returns
    -------
    dict
        Maps the ID of each node to the node; in a subgraph, the key is ``SUBGRAPH_ID/NODE_ID``.
    """
    if isinstance(value.get("nodes"), list) and "links" in value:
        nodes = dict(_parse_workflow(value, ""))
        definitions = value.get("definitions")
        subgraphs = definitions.get("subgraphs") if isinstance(definitions, dict) else None
        for subgraph in as_list(subgraphs)[:_MAX_VALUES]:
            if isinstance(subgraph, dict):
                nodes |= _parse_workflow(subgraph, f"{subgraph.get('id')}/")
        return nodes
    return dict(_parse_executed(value))


def _parse_executed(value: Mapping[str, Any]) -> Iterator[tuple[str, Node]]:
    for node_id, node in list(value.items())[:_MAX_NODES]:
        kind = node.get("class_type") if isinstance(node, dict) else None
        inputs = node.get("inputs") if isinstance(kind, str) else None
        if not isinstance(inputs, dict):
            continue
        entries = list(inputs.items())[:_MAX_VALUES]
        links = {name: link for name, entry in entries if (link := _parse_link(entry))}
        yield node_id, Node(str(kind)[:200], dict(_parse_values(entries)), links)


def _parse_link(entry: object) -> Link | None:
    if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], int):
        return Link(str(entry[0])[:200], entry[1])
    return None


def _parse_values(entries: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str | int | float]]:
    """Yield each string or number with its name, including those in ``{"content": …}``."""
    for name, entry in entries:
        value = entry.get("content") if isinstance(entry, dict) else entry
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield str(name), value


def _parse_workflow(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Node]]:
    sources = dict(_parse_links(as_list(value.get("links")), prefix))
    for node in as_list(value.get("nodes"))[:_MAX_NODES]:
        kind = node.get("type") if isinstance(node, dict) else None
        if not isinstance(kind, str) or node.get("mode") == _MUTED:
            continue
        widgets = node.get("widgets_values")
        if isinstance(widgets, list):
            widgets = {str(i): entry for i, entry in enumerate(widgets[:_MAX_VALUES])}
        entries = list(widgets.items())[:_MAX_VALUES] if isinstance(widgets, dict) else []
        links: dict[str, Link] = {}
        for entry in as_list(node.get("inputs"))[:_MAX_VALUES]:
            if isinstance(entry, dict) and isinstance(link_id := entry.get("link"), int):
                links |= {str(entry.get("name")): sources[link_id]} if link_id in sources else {}
        yield f"{prefix}{node.get('id')}", Node(kind[:200], dict(_parse_values(entries)), links)


def _parse_links(links: list[Any], prefix: str) -> Iterator[tuple[int, Link]]:
    """Yield the ID of each link, and the link. In subgraphs, links are objects, not lists."""
    for entry in links[:_MAX_LINKS]:
        keys = ("id", "origin_id", "origin_slot")
        link = [entry.get(key) for key in keys] if isinstance(entry, dict) else entry
        if isinstance(link, list) and len(link) >= 3 and isinstance(link[0], int):
            slot = link[2] if isinstance(link[2], int) else 0
            yield link[0], Link(f"{prefix}{link[1]}"[:200], slot)

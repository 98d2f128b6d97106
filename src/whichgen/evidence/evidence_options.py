"""Options for collecting provenance evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EvidenceOptions:
    """Options of :func:`whichgen.evidence.collect.collect`.

    Parameters
    ----------
    trust_anchors
        Certificates of trusted authorities in PEM (see
        :func:`~whichgen.evidence.content_credentials.trust_list.read_trust_list`); empty if there
        is no trust list.
    aliases
        Additional names of generators and their origins, as returned by
        :func:`~whichgen.evidence.generator_aliases.read_aliases`; ``None`` to use only the built-in
        table.
    """

    trust_anchors: str = ""
    aliases: Mapping[str, str] | None = None

"""Generation parameters: the settings with which a program generated an image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from whichgen.evidence.finding import Finding
from whichgen.evidence.generator_patterns import find_generator
from whichgen.evidence.untrusted_text import clean

#: Keys of each reported value, in any capitalization; the first match counts. The prompt is last
#: because it may be long.
_FIELDS: dict[str, tuple[str, ...]] = {
    "model": (
        *("model", "base_model", "base model", "model_weights", "model_name", "ckpt_name"),
        *("use_stable_diffusion_model", "stable diffusion model", "checkpoint", "model name"),
    ),
    "model hash": ("model_hash", "base_model_hash", "model hash"),
    "other models": ("other models",),
    "unet": ("unet",),
    "sampler": ("sampler", "sampler_name", "scheduler"),
    "steps": ("steps", "num_inference_steps"),
    "seed": ("seed", "noise_seed"),
    "size": ("size", "resolution"),
    "job": ("job",),
    "prompt": ("prompt", "positive_prompt", "positiveprompt", "c", "include in image"),
}

#: File suffixes of model weights.
WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".gguf", ".sft", ".pth", ".pt", ".bin", ".onnx")

_SEPARATOR = re.compile(r"[\\/]")


@dataclass(frozen=True)
class Parameters:
    """Generation parameters and the program that wrote them.

    Parameters
    ----------
    tool
        Name of the program or of its format; empty if the program is unknown.
    values
        Maps the name of each setting to its value. :func:`report_parameters` reports only some
        settings, such as model, seed and prompt.
    """

    tool: str
    values: Mapping[str, Any]


def report_parameters(kind: str, field: str, parameters: Parameters) -> Finding:
    """Create a finding from the parameters in a text field.

    Parameters
    ----------
    kind
        Type of metadata (see :class:`~whichgen.evidence.finding.Finding`).
    field
        Name of the text field.
    parameters
        The parameters.

    Returns
    -------
    Finding
        A finding that indicates a synthetic image. Its generator is the model in the parameters or,
        without a model, the program; empty if neither is known.
    """
    settings = {str(key).lower(): value for key, value in parameters.values.items()}
    if is_text_or_number(settings.get("width")) and is_text_or_number(settings.get("height")):
        settings.setdefault("size", f"{settings['width']}x{settings['height']}")
    fields = {}
    for name, keys in _FIELDS.items():
        value = next((settings[key] for key in keys if _has_text(settings.get(key))), "")
        if name == "model":
            value = shorten_model(str(value))
        if text := clean(str(value), 300 if name == "prompt" else 100):
            fields[name] = text
    tool = find_generator(parameters.tool)
    format_phrase = (
        f"in the format of {parameters.tool}" if parameters.tool else "of an unknown program"
    )
    title = f"{field}: generation parameters {format_phrase}"
    return Finding(
        kind=kind,
        title=title,
        detail="; ".join(f"{name} {text}" for name, text in fields.items()),
        indicates="synthetic",
        generator=fields.get("model") or (tool.name if tool else parameters.tool),
        statement=f"{title}, model {fields['model']}" if "model" in fields else "",
    )


def shorten_model(name: str) -> str:
    """Return a model name without folder and suffix: ``sdxl/toy.safetensors`` → ``toy``."""
    name = _SEPARATOR.split(name.strip())[-1]
    suffix = next((s for s in WEIGHT_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def count_keys(value: Mapping[str, Any], keys: Iterable[str]) -> int:
    """Count the lowercase ``keys`` that a dictionary contains in any capitalization."""
    return len({str(key).lower() for key in value} & set(keys))


def is_text_or_number(value: object) -> bool:
    """Return whether a value is a string or a number, but not a Boolean."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _has_text(value: object) -> bool:
    return is_text_or_number(value) and bool(str(value).strip())

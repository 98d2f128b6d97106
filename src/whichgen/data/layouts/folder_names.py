"""Recognize folder names of splits, photographs, generated images, generators and containers."""

from __future__ import annotations

import re

#: Optional end of the name of a split.
_SPLIT_SUFFIX = r"(_?(set|data|images?|imgs?|split))?"

#: Patterns of the normalized names (:func:`_normalize`) of the folders of each split.
_SPLITS = {
    "train": re.compile(rf"train(ing)?{_SPLIT_SUFFIX}"),
    "val": re.compile(rf"(val(id(ation)?)?|dev|eval(uation)?){_SPLIT_SUFFIX}"),
    "test": re.compile(rf"test(ing)?{_SPLIT_SUFFIX}"),
}
#: Optional start (class index) and end of the names of folders of photographs and generated images.
_CLASS_INDEX = r"(\d_?)?"
_SUFFIX = r"(_?(images?|imgs?|photos?|faces))?"

#: Patterns of normalized names that denote ``real``, photographs, and images of an unnamed
#: generator.
_PLAIN_REAL = re.compile(rf"{_CLASS_INDEX}reals?{_SUFFIX}")
_PHOTOGRAPHS = re.compile(
    rf"{_CLASS_INDEX}(reals?|nature|natural|photos?|photographs?|photography|authentic|genuine"
    rf"|pristine|originals?|camera|non_?ai|not_?ai|human){_SUFFIX}"
)
_GENERATED = re.compile(
    rf"{_CLASS_INDEX}(fakes?|ai|aigc|ai_?gen|ai_?generated|ai_?made|generated|synthetic"
    rf"|synthesi[sz]ed|synth){_SUFFIX}"
)

#: Image categories in the folders of CNNDetection: those of LSUN, PASCAL VOC and CycleGAN.
_CATEGORIES = frozenset(
    {
        *("airplane", "apple", "bedroom", "bicycle", "bird", "boat", "bottle", "bridge", "bus"),
        *("car", "cat", "chair", "church", "church_outdoor", "classroom", "conference_room"),
        *("cow", "dining_room", "diningtable", "dog", "horse", "kitchen", "living_room"),
        *("motorbike", "orange", "person", "pottedplant", "restaurant", "sheep", "sofa"),
        *("summer", "tower", "train", "tvmonitor", "winter", "zebra"),
    }
)

#: Folder names of the classes of ImageNet.
_SYNSET = re.compile(r"n\d{8}")

#: Generic names of folders, which usually contain other folders.
_CONTAINERS = frozenset(
    {"archive", "data", "dataset", "datasets", "download", "downloads", "extracted", "files"}
    | {"image", "images", "img", "imgs", "pictures"}
)

#: Names of well-known datasets of photographs.
_PHOTOGRAPH_DATASETS = frozenset(
    {
        *("afhq", "celeba", "celeba_hq", "celebahq", "cifar10", "cifar_10", "coco", "dresden"),
        *("ffhq", "flickr30k", "imagenet", "laion", "landscape", "lsun", "lsun_bedroom"),
        *("ms_coco", "mscoco", "open_images", "openimages", "raise", "raise_1k", "vision"),
    }
)


def _normalize(name: str) -> str:
    """Convert a name to lower case, with underscores instead of spaces, dots and hyphens."""
    return re.sub(r"[\s.-]+", "_", name.strip().lower())


def find_split(name: str) -> str:
    """Return the split that a folder name denotes (``train``, ``val`` or ``test``), or ``""``."""
    normal = _normalize(name)
    return next((split for split, names in _SPLITS.items() if names.fullmatch(normal)), "")


def means_photographs(name: str) -> bool:
    """Return whether a folder name denotes photographs, such as ``0_real`` or ``nature``."""
    return bool(_PHOTOGRAPHS.fullmatch(_normalize(name)))


def may_be_photographs(name: str) -> bool:
    """Return whether a folder name denotes photographs or is the name of a photograph dataset."""
    return means_photographs(name) or _normalize(name) in _PHOTOGRAPH_DATASETS


def means_real(name: str) -> bool:
    """Return whether a folder name is ``real`` in any spelling, such as ``0_real`` or ``REAL``."""
    return bool(_PLAIN_REAL.fullmatch(_normalize(name)))


def means_generated(name: str) -> bool:
    """Return whether a folder name denotes images of an unnamed generator, such as ``1_fake``."""
    return bool(_GENERATED.fullmatch(_normalize(name)))


def may_be_generator(name: str) -> bool:
    """Return whether a folder name can be the name of a generator.

    It can't if it denotes photographs or is the name of a photograph dataset, an image category of
    CNNDetection, a class of ImageNet (``n01440764``), a generic name such as ``images``, or a name
    without letters.
    """
    normal = _normalize(name)
    is_other_name = (
        normal in _CATEGORIES
        or bool(_SYNSET.fullmatch(normal))
        or may_be_photographs(name)
        or is_container(name)
    )
    return not is_other_name and any(map(str.isalpha, name))


def is_container(name: str) -> bool:
    """Return whether a folder name is generic, such as ``archive`` or ``images``."""
    return _normalize(name) in _CONTAINERS

"""Regular expressions in arguments."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from jaxtrain._ground.labels import check_pattern


def patterns(where: str, argument: str, given: Any) -> list[re.Pattern[str]]:
    """The regular expressions in an argument."""
    if isinstance(given, str):
        raise TypeError(f"{where}: {argument} must be a list of regular expressions, got {given!r}; pass [{given!r}]")
    return [check_pattern(f"{where}: {argument}", pattern) for pattern in given]


def any_matches(compiled: Iterable[re.Pattern[str]], name: str) -> bool:
    """Whether one of the regular expressions is found in the name."""
    return any(pattern.search(name) for pattern in compiled)


def prefix_of(names: Sequence[str], others: Collection[str]) -> str:
    """What stands before every name in the others, such as `module.`; empty if nothing does."""
    for other in others if names else ():
        prefix = other.removesuffix(names[0])
        if other != prefix and prefix.endswith(".") and all(prefix + name in others for name in names):
            return prefix
    return ""


def check_used(where: str, argument: str, compiled: Iterable[re.Pattern[str]], tried: Collection[str]) -> None:
    """Raise if a regular expression matches none of the names, which is usually a typing error."""
    idle = [pattern.pattern for pattern in compiled if not any(any_matches([pattern], name) for name in tried)]
    if idle:
        shown = [*list(tried)[:5], *(["..."] if len(tried) > 5 else [])]
        raise ValueError(f"{where}: {argument} has {idle}, which match none of {shown}; correct or remove them")

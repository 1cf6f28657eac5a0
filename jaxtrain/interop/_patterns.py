"""Regular expressions in arguments."""

import re
from collections.abc import Collection, Iterable
from typing import Any


def patterns(where: str, argument: str, given: Any) -> list[re.Pattern[str]]:
    """The regular expressions in an argument."""
    if isinstance(given, str):
        raise TypeError(f"{where}: {argument} must be a list of regular expressions, got {given!r}; pass [{given!r}]")
    compiled = []
    for pattern in given:
        try:
            compiled.append(re.compile(pattern))
        except (re.error, TypeError) as error:
            raise ValueError(f"{where}: {argument} must hold regular expressions, got {pattern!r}: {error}") from None
    return compiled


def any_matches(compiled: Iterable[re.Pattern[str]], name: str) -> bool:
    """Whether one of the regular expressions is found in the name."""
    return any(pattern.search(name) for pattern in compiled)


def check_used(where: str, argument: str, compiled: Iterable[re.Pattern[str]], tried: Collection[str]) -> None:
    """Raise if a regular expression matches none of the names, which is a typing error more often than not."""
    idle = [pattern.pattern for pattern in compiled if not any(any_matches([pattern], name) for name in tried)]
    if idle:
        shown = [*list(tried)[:5], *(["..."] if len(tried) > 5 else [])]
        raise ValueError(f"{where}: {argument} has {idle}, which match none of {shown}; correct or remove them")

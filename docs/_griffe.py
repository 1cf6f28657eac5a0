"""How the API reference reads the package: what `__init__.py` re-exports is public, footers have bold labels."""

import re

import griffe


class Reading(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring:
            text = re.sub(r"^(PyTorch|Source):", r"**\1:**", obj.docstring.value, flags=re.MULTILINE)
            # The section of Google's style that knows doctests has this title.
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)

    def on_module_members(self, *, mod: griffe.Module, **_) -> None:
        if mod.is_init_module:
            for member in mod.members.values():
                member.public = member.is_alias and not member.name.startswith("_")

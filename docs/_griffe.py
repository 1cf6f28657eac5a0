"""How the API reference reads the packages: public is what `__init__.py` re-exports; labels of footers are bold."""

import re

import griffe


class Reading(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring:
            text = re.sub(r"^(PyTorch|Source):", r"**\1:**", obj.docstring.value, flags=re.MULTILINE)
            # Google's style calls the section with doctests so.
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        modules = [pkg]
        for module in modules:
            modules += module.modules.values()
        exported = {path for module in modules if module.is_init_module for path in module.imports.values()}
        for module in modules:
            if not module.is_init_module:
                module.docstring = None
                for name, member in module.members.items():
                    member.public = f"{module.path}.{name}" in exported

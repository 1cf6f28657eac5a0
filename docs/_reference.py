"""A page of the reference shows the files that its package re-exports from, so that no list of them must be kept."""

import re
from pathlib import Path


def on_page_markdown(markdown, **_):
    return re.sub(r"^::: (jaxtrain\.\S+)$", lambda found: _with_files(found[1]), markdown, flags=re.MULTILINE)


def _with_files(package):
    text = Path(package.replace(".", "/"), "__init__.py").read_text()
    imported = dict.fromkeys(re.findall(r"^from (\S+) import (\w+)", text, re.MULTILINE))
    files = dict.fromkeys(
        package + source if source.startswith(".") else source for source, name in imported if source != package
    )
    # What is seldom needed lies in private files, which isort puts first.
    ordered = sorted(files, key=lambda file: file.rpartition(".")[2].startswith("_"))
    # The package itself gives its docstring only.
    return "\n\n".join([f"::: {package}\n    options: {{members: false}}", *(f"::: {file}" for file in ordered)])

"""Generated sections of Markdown files."""

from pathlib import Path


def write_markdown(path: Path, **sections: str) -> None:
    """Write sections to a file; in one that holds their markers, only what stands between them is replaced.

    In a folder, each section goes to the pages that hold its markers.
    """
    if path.is_dir():
        for page in sorted(path.rglob("*.md")):
            held = {name: content for name, content in sections.items() if begin_marker(name) in page.read_text()}
            write_markdown(page, **held)
        return
    text = path.read_text() if path.exists() else ""
    for name, content in sections.items():
        if begin_marker(name) in text:
            before, _, rest = text.partition(begin_marker(name))
            text = f"{before}{begin_marker(name)}\n{content}{end_marker(name)}{rest.partition(end_marker(name))[2]}"
        else:
            text += content
    path.write_text(text)


def begin_marker(section: str) -> str:
    return f"<!-- {section}: begin -->"


def end_marker(section: str) -> str:
    return f"<!-- {section}: end -->"

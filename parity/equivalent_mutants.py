"""Mutants that change nothing that a comparison with PyTorch can observe, and why."""

EQUIVALENT: dict[tuple[str, str], str] = {}
"""Reasons by module and changed statement (its first line, as `ast.unparse` writes it)."""

"""Compile whole train steps for machines that are not here."""

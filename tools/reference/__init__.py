"""Makes docs/reference from the docstrings of the public names, without importing them.

python -m tools.reference            writes the pages
python -m tools.reference --check    says what is stale or undocumented, and writes nothing
"""

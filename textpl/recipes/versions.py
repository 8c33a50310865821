"""Which versions of textpl a recipe is for."""

from __future__ import annotations

from packaging.specifiers import InvalidSpecifier, SpecifierSet


def check_version(versions: str) -> str:
    """The range of versions (PEP 440), if this textpl is in it; else ValueError."""
    from textpl import __version__

    try:
        wanted = SpecifierSet(versions)
    except InvalidSpecifier:
        raise ValueError(f'{versions!r} is no range of versions: write one such as ">=0.1,<1"') from None
    if not wanted.contains(__version__, prereleases=True):
        raise ValueError(
            f"this recipe is for textpl {versions}, and this is textpl {__version__}: "
            f"pip install 'textpl{versions.replace(' ', '')}'"
        )
    return versions

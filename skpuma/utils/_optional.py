"""Optional dependencies, with one message for all of them."""

from importlib import import_module


def optional_import(module, extra):
    """Import `module` or say which extra of skpuma brings it.

    Raises
    ------
    ImportError
        If the module is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This needs {module.partition('.')[0]}, which is not installed. "
            f"Install it with: pip install 'skpuma[{extra}]'"
        ) from error

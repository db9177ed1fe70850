"""Build with ``python -m sphinx -W -b html doc doc/_build/html``."""

import os
import re
import sys
import warnings
import zlib
from pathlib import Path

# Threads of BLAS that wait for each other make small examples many times slower where
# anything else runs; read when numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

import api_pages  # noqa: E402

import skpuma  # noqa: E402

project = "skpuma"
author = "skpuma developers"
project_copyright = author
version = release = skpuma.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "short_names",
    "wide_figures",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
# `PumaPatcher` is a link, `n_marked` is code.
default_role = "py:obj"
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 60

# -- API pages: from the tables of the rooms -------------------------------------------

api_pages.write(HERE / "api")
autosummary_generate = True
# A function of the templates.
suppress_warnings = ["config.cache"]
autosummary_context = {"own_members": api_pages.own_members}
autodoc_typehints = "none"
numpydoc_show_class_members = False

# -- other projects: links where the network is there, plain names where it is not -----

OFFLINE = HERE / "_build" / "no_names.inv"
OFFLINE.parent.mkdir(exist_ok=True)
OFFLINE.write_bytes(
    b"# Sphinx inventory version 2\n# Project: none\n# Version: 0\n"
    b"# The remainder of this file is compressed using zlib.\n" + zlib.compress(b"")
)
intersphinx_mapping = {
    name: (url, (None, str(OFFLINE)))
    for name, url in {
        "numpy": "https://numpy.org/doc/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
        "scipy": "https://docs.scipy.org/doc/scipy/",
        "sklearn": "https://scikit-learn.org/stable/",
    }.items()
}
intersphinx_timeout = 5

# -- gallery: examples/plot_*.py are executed ------------------------------------------


def _without_paths(message, category, *_, **__):
    """A warning as a page shows it, wherever the pages were built."""
    return f"{category.__name__}: {message}\n"


warnings.formatwarning = _without_paths
FILTERS = list(warnings.filters)


def _own_filters(*_):
    """Filters of warnings that one example sets are not those of the next."""
    warnings.filters[:] = FILTERS
    # Also forgets which warnings have been shown.
    warnings.simplefilter("default", append=True)


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": re.escape(os.sep) + "plot_",
    "ignore_pattern": r"^(?!plot_)",
    "doc_module": ("skpuma",),
    "reset_modules": ("matplotlib", "seaborn", _own_filters),
    # What a cell prints and tables, but no repr of its last line.
    "capture_repr": ("_repr_html_",),
    "backreferences_dir": "api/backreferences",
    "inspect_global_variables": False,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
}

# -- pages: nothing on them is loaded from elsewhere -----------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skpuma"
html_static_path = ["_static"]
html_css_files = ["skpuma.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_show_sphinx = False
html_copy_source = False
html_context = {"default_mode": "auto"}
# Nothing at the side of figures and of what is printed, which need the room.
WIDE = ["index", "auto_examples/index"]
WIDE += [f"auto_examples/{page.stem}" for page in EXAMPLES.glob("plot_*.py")]
html_theme_options = {
    "logo": {"text": "skpuma"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {"**": ["page-toc"], **{page: [] for page in WIDE}},
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Pages without a section of their own have nothing to show at the side.
html_sidebars = {
    page: []
    for page in (
        "index", "trust", "choosing", "comparison", "reproduction", "conventions",
        "glossary", "references", "whats_new", "unlearning",
    )
}  # fmt: skip

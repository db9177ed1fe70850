"""Links to public names without their package: ``PumaPatcher.patch``, ``DVRL``."""

import api_pages


def resolve(app, env, node, content):
    if node["refdomain"] != "py" or node["reftype"] != "obj":
        return None
    name, _, member = node["reftarget"].partition(".")
    if name not in api_pages.homes():
        return None
    target = ".".join(filter(None, [api_pages.homes()[name], name, member]))
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, "obj", target, node, content
    )


def setup(app):
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

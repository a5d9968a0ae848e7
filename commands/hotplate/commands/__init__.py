"""Command handlers, one Redis group a module: parse, call the domain, answer."""

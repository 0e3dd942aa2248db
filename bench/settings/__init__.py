"""How settings are written: YAML, dotted keys, errors in words."""

"""The command line, ``snow-assets``. Thin: what it does lies in the other packages, imported where it is needed."""

"""Talks to one ServiceNow instance. Usable on its own: no Dagster, no Arrow.

Start at ``client.Client``. Rules are procedures (``exchange``), which ``driver`` drives: one request until it is good
(``retry``), one key range until it is proven (``reading``, ``proof``). ``faults`` is the table of all that goes wrong.
"""

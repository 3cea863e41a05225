"""netc from Python: networks, plans, programs and trainings as values; `import netc` offers it.

The command line is a layer of words over this one. Nothing here prints, exits, or listens to
signals: what there is to say is told to a `Listener`, or is in the values.
"""

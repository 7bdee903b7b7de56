"""What both commands share of the terminal: progress, its modes, exit codes, completion, versions.

It knows neither stage: events come in as plain values, and lines, a live display or JSON go out.
"""

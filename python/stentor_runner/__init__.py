"""The process beside a Stentor node that runs one authenticator function of its operator.

Nothing is imported here: `source` has to be usable where fastapi is not installed.
"""

# Goes into the name of every environment, so that a runner never meets packages that it was not made for.
VERSION = "1"

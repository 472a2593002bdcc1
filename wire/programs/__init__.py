"""The command line programs, and what they are made of: flags, logging, load and its measurement.

Installed with the wheel. `bin/` uses it too: its programs also serve and call Echo and Crypto. Nothing of wire imports
this package. What the programs need beside wire is in extras of pyproject.toml, which they name when that is missing.
"""

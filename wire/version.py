"""The version of the wheel, of which the user agent tells peers. Imports nothing."""

VERSION = "0.2.0"

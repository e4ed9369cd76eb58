"""This package's version, for people, for artifacts, and for whoever builds the package."""

VERSION = "0.1.0"

"""For Dataflow's ``--setup_file``; everything stands in pyproject.toml."""

from setuptools import setup

setup()
